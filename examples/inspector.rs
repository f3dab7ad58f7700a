//! The inspector of a shop with visitors, to see a cache at work.
//!
//! ```text
//! cargo run --release --example inspector
//! ```
//!
//! Then open the address it prints. The handlers pretend to query a database. The visitors are part of
//! the program and use real sockets: most read, a few write, and some request pages that are never
//! cached.
//!
//! - `--listen ADDR` and `--admin ADDR` use other addresses than 127.0.0.1:3000 and 127.0.0.1:9901.
//! - `--admin-token TOKEN` requires a token; without it, everyone on this machine has access.
//! - `--visitors N` sets the number of visitors, 8 by default; with 0 the shop is all yours.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Path;
use axum::http::{Method, Request, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use fastrand::Rng;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_response_cache::admin::{Access, Admin};
use tower_response_cache::{CacheDirective, CacheLayer, Evict, MemoryStore, Policy, Routes};

#[derive(Parser)]
struct Args {
    /// The address of the shop.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// The address of the inspector.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// The token that the inspector requires.
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// The number of visitors.
    #[arg(long, value_name = "N", default_value_t = 8)]
    visitors: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let cache = CacheLayer::builder()
        .store(MemoryStore::new(16 << 20))
        .routes(routes())
        .build()?;
    let access = match &args.admin_token {
        Some(token) => Access::token(token)?,
        None => Access::local(),
    };
    let admin = Admin::new(cache.handle(), access).router();
    let admin = admin.into_make_service_with_connect_info::<SocketAddr>();
    let admin_listener = TcpListener::bind(args.admin).await?;
    println!("admin on http://{}", admin_listener.local_addr()?);
    tokio::spawn(async move { axum::serve(admin_listener, admin).await });

    let listener = TcpListener::bind(args.listen).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    for seed in 0..args.visitors {
        tokio::spawn(visit(address, Rng::with_seed(seed)));
    }
    Ok(axum::serve(listener, shop().layer(cache)).await?)
}

fn routes() -> Routes {
    let seconds = Duration::from_secs;
    Routes::new()
        .route(
            "/products/{id}",
            Policy::ttl(seconds(20))
                .stale_while_revalidate(seconds(10))
                .tag("catalogue"),
        )
        .route("/products", Policy::ttl(seconds(30)).tag("catalogue"))
        .route(
            "/search",
            Policy::ttl(seconds(10)).sort_query().tag("catalogue"),
        )
        .route("/stock/{id}", Policy::origin_decides())
        .route("/images/{*name}", Policy::ttl(seconds(300)).tag("images"))
        .route("/cart", Policy::bypass())
        .on_write(
            "/products/{id}",
            Evict::pattern("/products").and_tag("search"),
        )
}

// ----------------------------------------------------------------------------------- the shop ---

fn shop() -> Router {
    Router::new()
        .route("/products", get(|| answer(60, "all of them")))
        .route("/products/{id}", get(product).put(product))
        .route("/search", get(search))
        .route("/stock/{id}", get(stock))
        .route("/images/{*name}", get(image))
        .route("/cart", get(|| answer(8, "what you put there")))
        .route("/health", get(|| answer(0, "well")))
}

async fn answer(milliseconds: u64, what: &'static str) -> impl IntoResponse {
    sleep(Duration::from_millis(milliseconds)).await;
    Json(json!({ "answer": what }))
}

async fn product(Path(id): Path<u32>) -> impl IntoResponse {
    sleep(Duration::from_millis(15 + u64::from(id) % 7 * 5)).await;
    let description = "Leaves of the second flush. ".repeat(id as usize % 40);
    Json(json!({ "id": id, "description": description }))
}

async fn search() -> impl IntoResponse {
    sleep(Duration::from_millis(90)).await;
    let tagged = CacheDirective::new().tag("search");
    let mut response = Json(json!({ "found": ["green tea", "teapot"] })).into_response();
    response.extensions_mut().insert(tagged);
    response
}

/// Returns the stock of a product, fresh for two seconds and then confirmed by its entity tag.
async fn stock(Path(id): Path<u32>, headers: axum::http::HeaderMap) -> impl IntoResponse {
    sleep(Duration::from_millis(5)).await;
    let tag = format!("\"{id}\"");
    let fields = [
        (header::CACHE_CONTROL, "max-age=2".to_owned()),
        (header::ETAG, tag.clone()),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    match known {
        true => (axum::http::StatusCode::NOT_MODIFIED, fields).into_response(),
        false => (fields, Json(json!({ "id": id, "left": id % 50 }))).into_response(),
    }
}

async fn image(Path(name): Path<String>) -> impl IntoResponse {
    sleep(Duration::from_millis(30)).await;
    let size = 2_000 + name.len() * 1_500;
    ([(header::CONTENT_TYPE, "image/webp")], vec![0_u8; size])
}

// ------------------------------------------------------------------------------- its visitors ---

/// Sends one request after the other, for as long as the program runs.
async fn visit(shop: SocketAddr, mut chance: Rng) {
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    loop {
        let (method, path) = next(&mut chance);
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{shop}{path}"))
            .body(Empty::new());
        if let Ok(request) = request
            && let Ok(response) = client.request(request).await
        {
            // A response that breaks off does not stop the visitor.
            let _ = response.into_body().collect().await;
        }
        sleep(Duration::from_millis(5 + chance.u64(..30))).await;
    }
}

fn next(chance: &mut Rng) -> (Method, String) {
    let product = popular(chance, 400);
    let path = match chance.u64(..100) {
        0..=54 => format!("/products/{product}"),
        55..=64 => "/products".to_owned(),
        65..=74 => format!(
            "/search?q={}",
            ["tea", "cup", "teapot", "honey"][product as usize % 4]
        ),
        75..=82 => format!("/images/{}/front.webp", product),
        83..=90 => format!("/stock/{}", product % 30),
        91..=97 => "/cart".to_owned(),
        98 => "/health".to_owned(),
        _ => return (Method::PUT, format!("/products/{product}")),
    };
    (Method::GET, path)
}

/// Returns a number below the bound; low ones are far more frequent.
fn popular(chance: &mut Rng, bound: u64) -> u64 {
    let mut draw = || chance.u64(..bound);
    draw() * draw() / bound * draw() / bound
}
