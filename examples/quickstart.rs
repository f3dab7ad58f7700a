//! A small shop with a slow database, and the cache in front of it.
//!
//! ```text
//! cargo run --example quickstart
//! ```
//!
//! Every read takes 300 ms, as if from a slow database. Read something twice and look at
//! `X-Cache`; change a price and read again. The program prints the commands to try.
//!
//! - `--listen ADDR` uses another address than 127.0.0.1:3000.
//! - `REDIS_URL=redis://localhost` in the environment shares what is stored with other nodes.
//! - `CACHE_BYPASS=true` in the environment switches the cache off, to compare.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::IntervalStream;
use tower_response_cache::{
    CacheLayer, Evict, MemoryStore, Policy, RedisStore, Routes, Store, TieredStore,
};

/// The time that the pretended database takes.
const DATABASE: Duration = Duration::from_millis(300);

#[derive(Parser)]
struct Args {
    /// The address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---------------------------------------------------------------------------------- the cache ---

/// Configures the cache: what is cached, for how long, and what a write makes stale. This is all it
/// takes.
fn cache(store: Arc<dyn Store>) -> Result<CacheLayer, tower_response_cache::Error> {
    CacheLayer::builder()
        .shared_store(store)
        .routes(
            Routes::new()
                // A product and the list are cached for a minute, or until a write evicts them.
                .route("/products/{id}", Policy::ttl(Duration::from_secs(60)))
                .route(
                    "/products",
                    Policy::ttl(Duration::from_secs(60)).tag("catalog"),
                )
                // The lifetime may depend on the request.
                .route("/search", Policy::ttl_with(search_ttl).tag("catalog"))
                // A page about the current user. By default the cache does not answer requests with
                // credentials anyway; this says so explicitly.
                .route("/me", Policy::bypass())
                // A changed price makes that product stale, and every response with the tag.
                .on_write(
                    "/products/{id}",
                    Evict::pattern("/products/{id}").and_tag("catalog"),
                ),
        )
        .build()
}

/// Chooses the store: memory, over Redis if there is one for several nodes to share.
fn store() -> Result<Arc<dyn Store>, tower_response_cache::Error> {
    let memory = MemoryStore::builder().max_bytes(64 * 1024 * 1024);
    Ok(match std::env::var("REDIS_URL") {
        Err(_) => Arc::new(memory.build()?),
        Ok(url) => {
            let redis = RedisStore::builder().url(url).namespace("quickstart");
            Arc::new(TieredStore::builder().memory(memory).redis(redis).build()?)
        }
    })
}

/// Returns how long a search is cached. Everybody types short words, so their results are kept longer.
/// An empty search is not cached.
fn search_ttl(request: &Parts) -> Option<Duration> {
    let query = Query::<Search>::try_from_uri(&request.uri).ok()?;
    match query.q.chars().count() {
        0 => None,
        1..=3 => Some(Duration::from_secs(60)),
        _ => Some(Duration::from_secs(10)),
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let cache = cache(store()?)?;
    // The switch for the day when someone suspects the cache. It can also be used while serving.
    let bypass = bypass()?;
    cache.handle().set_bypass(bypass);

    let app = Router::new()
        .route("/products", get(list))
        .route("/products/{id}", get(product).put(change_price))
        .route("/search", get(search))
        .route("/me", get(me))
        .route("/events", get(events))
        .with_state(Shop::open())
        .layer(cache);

    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; --listen 127.0.0.1:0 uses a free port",
            args.listen
        )
    })?;
    print_tour(listener.local_addr()?, bypass);
    let (stop, last_call) = (stop_signal()?, stop_signal()?);
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop) => served?,
        // Responses under way are finished, but endless streams are not waited for.
        () = async { last_call.await; sleep(Duration::from_secs(2)).await } => {}
    }
    Ok(())
}

/// Reads `CACHE_BYPASS`. An unknown value is an error: whoever sets the switch wants it to work.
fn bypass() -> Result<bool, String> {
    let value = std::env::var_os("CACHE_BYPASS").unwrap_or_default();
    match value.to_str() {
        Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        _ => Err(format!("CACHE_BYPASS is {value:?}: expected true or false")),
    }
}

fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn print_tour(address: SocketAddr, bypass: bool) {
    let base = format!("http://{address}");
    println!("listening on {base}");
    if bypass {
        println!("The cache is switched off (CACHE_BYPASS=true): every request takes its 300 ms.");
    }
    println!(
        "
Try, in another terminal:

  curl -i {base}/products/1          # 300 ms, X-Cache: MISS
  curl -i {base}/products/1          # at once, X-Cache: HIT

  curl -i -X PUT {base}/products/1 -H 'Content-Type: application/json' -d '{{\"price\": 7.5}}'
  curl -i {base}/products/1          # X-Cache: MISS, and the new price
  curl -i {base}/products            # the list is new as well

  curl -i '{base}/search?q=tea'      # kept for 60 s; longer words for 10 s
  curl -i {base}/me -H 'Authorization: Bearer ada'      # never shared
  curl -N {base}/events              # a stream, passed on as it arrives

Stop with ctrl-c. CACHE_BYPASS=true cargo run --example quickstart shows the shop without the cache."
    );
}

// ----------------------------------------------------------------------------------- the shop ---

#[derive(Clone, Serialize)]
struct Product {
    id: u32,
    name: &'static str,
    price: f64,
    /// The number of changes, which shows at a glance whether a response is stale.
    version: u32,
}

/// The slow database.
#[derive(Clone)]
struct Shop(Arc<Mutex<BTreeMap<u32, Product>>>);

impl Shop {
    fn open() -> Self {
        let goods = [
            ("green tea", 4.5),
            ("black tea", 3.9),
            ("teapot", 24.0),
            ("cup", 6.0),
            ("honey", 5.2),
        ];
        let products = (1..).zip(goods).map(|(id, (name, price))| {
            let version = 1;
            (
                id,
                Product {
                    id,
                    name,
                    price,
                    version,
                },
            )
        });
        Self(Arc::new(Mutex::new(products.collect())))
    }

    async fn read<T>(&self, read: impl FnOnce(&BTreeMap<u32, Product>) -> T) -> T {
        sleep(DATABASE).await;
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_price(&self, id: u32, price: f64) -> Option<Product> {
        let mut products = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let product = products.get_mut(&id)?;
        product.price = price;
        product.version += 1;
        Some(product.clone())
    }
}

// The handlers know nothing about the cache.

async fn list(State(shop): State<Shop>) -> Json<Vec<Product>> {
    Json(
        shop.read(|products| products.values().cloned().collect())
            .await,
    )
}

async fn product(
    State(shop): State<Shop>,
    Path(id): Path<String>,
) -> Result<Json<Product>, Refusal> {
    let found = match id.parse() {
        Ok(id) => {
            shop.read(|products: &BTreeMap<u32, _>| products.get(&id).cloned())
                .await
        }
        Err(_) => None,
    };
    found.map(Json).ok_or_else(|| no_product(&id))
}

#[derive(Deserialize)]
struct NewPrice {
    price: f64,
}

async fn change_price(
    State(shop): State<Shop>,
    Path(id): Path<String>,
    body: Result<Json<NewPrice>, JsonRejection>,
) -> Result<Json<Product>, Refusal> {
    let Json(NewPrice { price }) =
        body.map_err(|error| Refusal(error.status(), error.body_text()))?;
    if price < 0.0 {
        let reason = format!("a price cannot be negative: {price}");
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let changed = id.parse().ok().and_then(|id| shop.set_price(id, price));
    changed.map(Json).ok_or_else(|| no_product(&id))
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

async fn search(State(shop): State<Shop>, Query(search): Query<Search>) -> Json<Vec<Product>> {
    let matching = |products: &BTreeMap<u32, Product>| {
        let found = products
            .values()
            .filter(|product| product.name.contains(&search.q));
        found.cloned().collect()
    };
    Json(shop.read(matching).await)
}

async fn me(headers: HeaderMap) -> Result<Json<serde_json::Value>, Refusal> {
    let name = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or_else(|| {
            let reason = "say who you are: Authorization: Bearer NAME".to_owned();
            Refusal(StatusCode::UNAUTHORIZED, reason)
        })?;
    sleep(DATABASE).await;
    Ok(Json(json!({ "name": name })))
}

/// Four events a second, for as long as the client listens.
async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut count = 0;
    let ticks = IntervalStream::new(interval(Duration::from_millis(250)));
    Sse::new(ticks.map(move |_| {
        count += 1;
        Ok(Event::default().event("tick").data(count.to_string()))
    }))
}

/// An error with its reason, as JSON.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

fn no_product(id: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("there is no product {id:?}"))
}
