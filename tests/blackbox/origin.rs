//! An origin that takes its time, sends bodies bit by bit, fails now and then and breaks off.
//!
//! What it does with a request follows from the number in `x-dice`, which clients draw, so that a
//! seed fixes it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::support::Dice;
use crate::world::{LANGUAGES, Page, World};

type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) async fn start(world: Arc<World>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let world = world.clone();
            let service = service_fn(move |request| answer(world.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

async fn answer(
    world: Arc<World>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    let dice = field(request.headers(), "x-dice").parse().unwrap();
    let mut random = Dice::new(dice);
    let page = Page::parse(request.uri().path()).unwrap();
    match (page, request.method()) {
        (_, &Method::GET | &Method::HEAD) => {
            world.reads.fetch_add(1, Ordering::Relaxed);
            Ok(read(&world, page, &request, &mut random).await)
        }
        (Page::Item(item), _) => {
            let method = request.method().clone();
            request.into_body().collect().await?;
            // Half of the writes go on when the request is abandoned.
            if random.below(2) == 0 {
                let writing = async move { write(&world, item, &method, &mut random).await };
                return Ok(tokio::spawn(writing).await.unwrap());
            }
            Ok(write(&world, item, &method, &mut random).await)
        }
        _ => unreachable!("only items are written"),
    }
}

async fn read(
    world: &World,
    page: Page,
    request: &Request<Incoming>,
    random: &mut Dice,
) -> Response<Body> {
    pause(random).await;
    let call = world.call();
    if random.below(200) == 0 {
        return failure(call);
    }
    let language = field(request.headers(), "accept-language");
    let language = LANGUAGES.iter().find(|&&known| known == language).unwrap();
    let variant = page.variant(language);
    let version = world.current(page);
    pause(random).await;
    let mut response = Response::new(whole(""));
    let headers = response.headers_mut();
    let mut set = |name, value: &str| headers.insert(name, HeaderValue::try_from(value).unwrap());
    set("x-call", &call.to_string());
    set("x-version", &version.to_string());
    set("cache-control", world.cache_control(page));
    if page.varies() {
        set("vary", "accept-language");
    }
    if let Page::Shelf(number) = page {
        set("cache-groups", &format!("\"shelf-{number}\""));
    }
    if page.has_validator() {
        let etag = page.etag(version, variant);
        set("etag", &etag);
        if field(request.headers(), "if-none-match").contains(&etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
    }
    let content = Bytes::from(page.content(version, variant));
    let length = content.len().to_string();
    if request.method() == Method::HEAD {
        set("content-length", &length);
        return response;
    }
    if random.below(2) == 0 {
        set("content-length", &length);
    }
    *response.body_mut() = match random.below(100) {
        0 => {
            world.break_off(page, call);
            let cut = random.below(content.len());
            trickling(content.slice(..cut), true, random.clone())
        }
        1..20 => trickling(content, false, random.clone()),
        _ => whole(content),
    };
    response
}

async fn write(world: &World, item: usize, method: &Method, random: &mut Dice) -> Response<Body> {
    pause(random).await;
    if random.below(100) == 0 {
        return failure(world.call());
    }
    let wrote = world.write(item).to_string();
    pause(random).await;
    let group = format!("\"shelf-{}\"", world.shelf_of(item));
    let response = Response::builder()
        .header("x-call", world.call())
        .header("x-wrote", &wrote)
        .header("cache-group-invalidation", group);
    let (status, body) = match *method {
        Method::DELETE => (204, whole("")),
        Method::POST => (201, trickling(wrote.into(), false, random.clone())),
        _ => (200, whole(wrote)),
    };
    response.status(status).body(body).unwrap()
}

fn failure(call: u64) -> Response<Body> {
    let response = Response::builder().status(500).header("x-call", call);
    response.body(whole("out of order")).unwrap()
}

/// Mostly no pause, now and then some milliseconds.
async fn pause(random: &mut Dice) {
    let milliseconds = match random.below(16) {
        0 => random.below(20),
        1..4 => 1 + random.below(2),
        _ => return,
    };
    tokio::time::sleep(Duration::from_millis(milliseconds as u64)).await;
}

fn whole(content: impl Into<Bytes>) -> Body {
    let body = Full::new(content.into()).map_err(|never: Infallible| match never {});
    body.boxed_unsync()
}

/// A body that comes in up to four parts with pauses between them, and then ends or breaks off.
fn trickling(content: Bytes, breaks_off: bool, mut random: Dice) -> Body {
    let part = content.len() / (1 + random.below(4)) + 1;
    let state = (content, random, false);
    let frames = stream::unfold(state, move |(mut rest, mut random, over)| async move {
        if over {
            return None;
        }
        if rest.is_empty() {
            // While it sleeps, what it has sent so far leaves.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let error = io::Error::other("out of order");
            return breaks_off.then_some((Err(error), (rest, random, true)));
        }
        pause(&mut random).await;
        let next = rest.split_to(part.min(rest.len()));
        Some((Ok(Frame::data(next)), (rest, random, false)))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
