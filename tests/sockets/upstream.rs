//! The cache over a client of an HTTP origin, with a mock server as that origin.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::{Cache, CacheLayer, OriginUnreachable, Policy, Routes};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type OriginBody = UnsyncBoxBody<Bytes, BoxError>;

/// Sends requests to an origin; one that cannot be reached is a 502 that says so to the cache.
fn origin(
    base: String,
) -> impl tower::Service<
    Request<Empty<Bytes>>,
    Response = Response<OriginBody>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    service_fn(move |mut request: Request<Empty<Bytes>>| {
        let target: Uri = format!("{base}{}", request.uri()).parse().unwrap();
        *request.uri_mut() = target;
        let sent = client.request(request);
        async move {
            Ok(match sent.await {
                Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
                Err(_) => {
                    let body = Full::default().map_err(|never| match never {});
                    let mut response = Response::new(body.boxed_unsync());
                    *response.status_mut() = StatusCode::BAD_GATEWAY;
                    response.extensions_mut().insert(OriginUnreachable);
                    response
                }
            })
        }
    })
}

async fn get<S, B>(service: &Cache<S>, uri: &str) -> (StatusCode, String, Bytes)
where
    Cache<S>:
        tower::Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error = BoxError>,
{
    let request = Request::get(uri).body(Empty::new()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let x_cache = response.headers()["x-cache"].to_str().unwrap().to_owned();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, x_cache, body)
}

#[tokio::test]
async fn an_origin_over_the_network_is_asked_once_and_then_for_confirmation() {
    let server = MockServer::start().await;
    let fresh = ResponseTemplate::new(200)
        .insert_header("cache-control", "max-age=60")
        .set_body_string("fresh for a minute");
    Mock::given(path("/fresh"))
        .respond_with(fresh)
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/checked"))
        .and(header("if-none-match", "\"1\""))
        .respond_with(ResponseTemplate::new(304).insert_header("etag", "\"1\""))
        .expect(1)
        .mount(&server)
        .await;
    let checked = ResponseTemplate::new(200)
        .insert_header("cache-control", "no-cache")
        .insert_header("etag", "\"1\"")
        .set_body_string("confirmed each time");
    Mock::given(method("GET"))
        .and(path("/checked"))
        .respond_with(checked)
        .expect(1)
        .mount(&server)
        .await;
    let routes = Routes::new().otherwise(Policy::origin_decides());
    let layer = CacheLayer::builder().routes(routes).build().unwrap();
    let service = layer.layer(origin(server.uri()));

    for expected in ["MISS", "HIT", "HIT"] {
        let (status, x_cache, body) = get(&service, "/fresh").await;
        assert_eq!((status, x_cache.as_str()), (StatusCode::OK, expected));
        assert_eq!(body, "fresh for a minute");
    }
    for expected in ["MISS", "REVALIDATED"] {
        let (status, x_cache, body) = get(&service, "/checked").await;
        assert_eq!((status, x_cache.as_str()), (StatusCode::OK, expected));
        assert_eq!(body, "confirmed each time");
    }
    // The mock server checks the numbers of requests when it is dropped.
}

#[tokio::test]
async fn what_is_stale_stands_in_for_an_origin_that_is_gone() {
    // On a listener of its own: servers of the shared pool go on when they are dropped.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = MockServer::builder().listener(listener).start().await;
    let page = ResponseTemplate::new(200).set_body_string("once");
    Mock::given(path("/page"))
        .respond_with(page)
        .mount(&server)
        .await;
    let clock = tower_response_cache::testing::ManualClock::new();
    let policy = Policy::ttl(Duration::from_secs(60)).stale_if_error(Duration::from_secs(600));
    let layer = CacheLayer::builder()
        .routes(Routes::new().otherwise(policy))
        .clock(clock.clock())
        .build()
        .unwrap();
    let service = layer.layer(origin(server.uri()));
    assert_eq!(get(&service, "/page").await.1, "MISS");
    drop(server);
    clock.advance(Duration::from_secs(120));
    let (status, x_cache, body) = get(&service, "/page").await;
    assert_eq!((status, x_cache.as_str()), (StatusCode::OK, "STALE"));
    assert_eq!(body, "once");
    assert_eq!(
        get(&service, "/never-seen").await.0,
        StatusCode::BAD_GATEWAY
    );
}
