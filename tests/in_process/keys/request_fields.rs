//! Fields that handlers answer differently by, and requests that are bypassed for theirs.

use bytes::Bytes;
use http::Request;
use http::header::{self, HeaderName};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_response_cache::{CacheLayer, Policy, Routes};

use super::{assert_apart, echoing};
use crate::support::{Answer, Bench, MINUTE, Origin, request, respond, sent};

#[tokio::test]
async fn forwarding_fields_that_handlers_build_links_from_are_part_of_the_key() {
    assert_apart(
        &echoing(Policy::ttl(MINUTE)),
        &[
            ("/p", &[("x-forwarded-host", "evil.example")]),
            ("/p", &[]),
            ("/p", &[("x-forwarded-host", "good.example")]),
            ("/p", &[("x-forwarded-host", "")]),
            (
                "/p",
                &[
                    ("x-forwarded-host", "good.example"),
                    ("x-forwarded-host", "evil.example"),
                ],
            ),
            ("/p", &[("forwarded", "host=evil.example")]),
            ("/p", &[("forwarded", "good.example")]),
            ("/p", &[("x-forwarded-proto", "good.example")]),
        ],
    )
    .await;
}

#[tokio::test]
async fn with_vary_forwarded_hosts_are_kept_apart_even_where_they_are_not_keyed() {
    let origin = Origin::showing(&[("vary", "x-forwarded-host")], |request| {
        sent(request, "x-forwarded-host")
    });
    let builder = CacheLayer::builder()
        .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
        .ignore_header(HeaderName::from_static("x-forwarded-host"));
    let bench = Bench::with_builder(builder, origin);
    let evil = [("x-forwarded-host", "evil.example")];
    assert_eq!(bench.get_with("/p", &evil).await.text(), "evil.example");
    assert_eq!(bench.get("/p").await.text(), "-");
    let again = bench.get_with("/p", &evil).await;
    assert_eq!((again.x_cache(), again.text()), ("HIT", "evil.example"));
}

#[tokio::test]
async fn also_key_adds_to_the_key_whatever_the_name() {
    for name in [
        "x-tenant",
        "origin",
        "accept",
        "accept-language",
        "user-agent",
        "referer",
        "range-unit",
        "dnt",
        "te",
        "pragma",
    ] {
        let builder = CacheLayer::builder()
            .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
            .also_key(HeaderName::from_static(name));
        let bench = Bench::with_builder(builder, Origin::counting());
        assert_eq!(bench.get_with("/", &[(name, "1")]).await.text(), "1");
        let other = bench.get_with("/", &[(name, "2")]).await;
        assert_eq!(other.text(), "2", "{name} is not part of the key");
        let again = bench.get_with("/", &[(name, "1")]).await;
        assert_eq!((again.x_cache(), again.text()), ("HIT", "1"), "{name}");
        // Still on the list.
        let listed = [(name, "1"), ("x-forwarded-host", "h")];
        assert_eq!(bench.get_with("/", &listed).await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn a_get_that_asks_to_be_taken_for_another_request_is_bypassed() {
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    ] {
        let bench = echoing(Policy::ttl(MINUTE));
        for value in ["POST", "DELETE", "/admin", ""] {
            let answer = bench.get_with("/p", &[(name, value)]).await;
            assert_eq!(answer.x_cache(), "BYPASS", "{name}: {value}");
            assert!(answer.field("cache-status").contains("detail=header"));
        }
        // Neither stored, nor answered from what is stored.
        assert_eq!(bench.get("/p").await.x_cache(), "MISS", "{name}");
        let answer = bench.get_with("/p", &[(name, "DELETE")]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{name}");
        assert_eq!(bench.origin.calls(), 6);
    }
}

#[tokio::test]
async fn also_bypass_adds_to_the_list_whatever_the_name() {
    for name in ["x-debug", "pragma", "origin", "range", "cache-control"] {
        let builder = CacheLayer::builder()
            .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
            .also_bypass(HeaderName::from_static(name));
        let bench = Bench::with_builder(builder, Origin::counting());
        bench.get("/p").await;
        let answer = bench.get_with("/p", &[(name, "x")]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{name}");
        let listed = [("x-original-url", "/q")];
        assert_eq!(bench.get_with("/p", &listed).await.x_cache(), "BYPASS");
    }
}

#[tokio::test]
async fn a_post_with_a_method_override_is_a_write_all_the_same() {
    let bench = echoing(Policy::ttl(MINUTE));
    bench.get("/p").await;
    let overridden = request("POST", "/p", &[("x-http-method-override", "GET")]);
    assert_eq!(bench.ask(overridden).await.x_cache(), "BYPASS");
    assert_eq!(bench.get("/p").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_get_that_announces_content_is_bypassed() {
    for field in [
        ("content-length", "5"),
        ("content-length", "garbage"),
        ("transfer-encoding", "chunked"),
    ] {
        let bench = echoing(Policy::ttl(MINUTE));
        let answer = bench.get_with("/p", &[field]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{field:?}");
        assert!(answer.field("cache-status").contains("detail=content"));
        assert_eq!(bench.get("/p").await.x_cache(), "MISS", "{field:?}");
        let answer = bench.get_with("/p", &[field]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{field:?}");
    }
    let bench = echoing(Policy::ttl(MINUTE));
    bench.get("/p").await;
    let empty = bench.get_with("/p", &[("content-length", "0")]).await;
    assert_eq!(empty.x_cache(), "HIT");
}

#[tokio::test]
async fn a_get_with_content_is_bypassed_though_no_field_announces_it() {
    let layer = CacheLayer::builder()
        .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
        .build()
        .unwrap();
    let service = layer.layer(tower::service_fn(
        |request: Request<Full<Bytes>>| async move {
            let content = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, std::convert::Infallible>(respond(200, &[], content))
        },
    ));
    let ask = async |content: &'static str| {
        let request = Request::get("/p").body(Full::from(content)).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        Answer::read(response.map(BodyExt::boxed_unsync)).await
    };
    assert_eq!(ask("").await.x_cache(), "MISS");
    let fat = ask("admin").await;
    assert_eq!((fat.x_cache(), fat.text()), ("BYPASS", "admin"));
    let lean = ask("").await;
    assert_eq!((lean.x_cache(), lean.text()), ("HIT", ""));
}

#[tokio::test]
async fn cors_answers_are_apart_with_vary_and_with_origin_as_a_keyed_field() {
    let reflecting = |fields| Origin::showing(fields, |request| sent(request, "origin"));
    let vary = Bench::new(Policy::ttl(MINUTE), reflecting(&[("vary", "Origin")]));
    let keyed = CacheLayer::builder()
        .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
        .also_key(header::ORIGIN);
    let keyed = Bench::with_builder(keyed, reflecting(&[]));
    for bench in [vary, keyed] {
        for _ in 0..2 {
            for origin in ["https://a.example", "https://b.example"] {
                let answer = bench.get_with("/", &[("origin", origin)]).await;
                assert_eq!(answer.text(), origin);
            }
        }
        assert_eq!(bench.origin.calls(), 2);
    }
}
