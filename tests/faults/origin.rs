//! The origin behind all nodes: it takes up to some milliseconds, and never fails.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use http::{HeaderMap, Method, Response, StatusCode};
use tokio::net::TcpListener;

use crate::support::Dice;
use crate::world::{LANGUAGES, Page, World, shelf_of};

#[derive(Debug)]
struct Origin {
    world: Arc<World>,
    random: Mutex<Dice>,
}

pub(crate) async fn start(world: Arc<World>, seed: u64) -> SocketAddr {
    let origin = Origin {
        world,
        random: Mutex::new(Dice::new(seed)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(Arc::new(origin));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn answer(State(origin): State<Arc<Origin>>, request: Request) -> Response<Body> {
    let page = Page::parse(request.uri().path()).unwrap();
    match (page, request.method()) {
        (Page::Item(item), &Method::PUT) => origin.write(item).await,
        (_, &Method::GET) => origin.read(page, request.headers()).await,
        _ => unreachable!("nobody asks for that"),
    }
}

impl Origin {
    async fn read(&self, page: Page, headers: &HeaderMap) -> Response<Body> {
        self.pause().await;
        let version = self.world.current(page);
        self.pause().await;
        let language = field(headers, "accept-language");
        let language = LANGUAGES.iter().find(|&&known| known == language).unwrap();
        let variant = page.variant(language);
        let etag = page.etag(version, variant);
        let lifetime = if page.ages() { 1 } else { 600 };
        let mut response = Response::builder()
            .header("x-version", version)
            .header("etag", &etag)
            .header("cache-control", format!("max-age={lifetime}"));
        if page.varies() {
            response = response.header("vary", "accept-language");
        }
        if let Page::Shelf(shelf) = page {
            response = response.header("cache-groups", format!("\"shelf-{shelf}\""));
        }
        let (status, body) = match field(headers, "if-none-match") == etag {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, page.content(version, variant).into()),
        };
        response.status(status).body(body).unwrap()
    }

    async fn write(&self, item: usize) -> Response<Body> {
        self.pause().await;
        let version = self.world.write(item);
        self.pause().await;
        let group = format!("\"shelf-{}\"", shelf_of(item));
        Response::builder()
            .header("x-wrote", version)
            .header("cache-group-invalidation", group)
            .body(Body::empty())
            .unwrap()
    }

    async fn pause(&self) {
        if self.random.lock().unwrap().below(3) == 0 {
            // The timer may well make it two.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}
