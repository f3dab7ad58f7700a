//! `Age` and `Date` from upstream, and clocks that jump.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tower::{Layer, ServiceExt};
use tower_response_cache::{CacheLayer, Policy, Routes};

use crate::support::{Answer, Bench, MINUTE, Origin, request, respond, seconds};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_wall_clock_that_jumps_neither_revives_nor_ends_a_response() {
    for back in [true, false] {
        let bench = Bench::new(
            Policy::ttl(MINUTE),
            Origin::new(|_, call| async move {
                let date = httpdate::fmt_http_date(std::time::SystemTime::now());
                respond(200, &[("date", &date)], call.to_string())
            }),
        );
        bench.get("/").await;
        bench.clock.advance(seconds(30));
        let wall = bench.clock.wall();
        bench
            .clock
            .set_wall(if back { wall - HOUR } else { wall + HOUR });
        let hit = bench.get("/").await;
        assert_eq!(hit.x_cache(), "HIT");
        assert!(["30", "31"].contains(&hit.field("age")), "{hit:?}");
        bench.clock.advance(seconds(30));
        assert_eq!(bench.get("/").await.text(), "2");
    }
}

#[tokio::test]
async fn a_wall_clock_that_jumps_while_the_handler_works_does_not_lengthen_a_lifetime() {
    for jump in [-3600_i64, 3600] {
        let clock = tower_response_cache::testing::ManualClock::new();
        let hand = clock.clone();
        let layer = CacheLayer::builder()
            .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
            .clock(clock.clock())
            .build()
            .unwrap();
        let service = layer.layer(tower::service_fn(move |_: Request<Empty<Bytes>>| {
            let hand = hand.clone();
            async move {
                let wall = hand.wall();
                hand.set_wall(match jump > 0 {
                    true => wall + seconds(3600),
                    false => wall - seconds(3600),
                });
                Ok::<_, Infallible>(respond(200, &[], "x"))
            }
        }));
        let ask = async || {
            let response = service.clone().oneshot(request("GET", "/", &[])).await;
            let response = response.unwrap().map(BodyExt::boxed_unsync);
            Answer::read(response).await
        };
        ask().await;
        assert_eq!(ask().await.x_cache(), "HIT");
        clock.advance(MINUTE);
        assert_eq!(ask().await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn an_age_from_upstream_shortens_the_lifetime_and_is_passed_on_grown() {
    // Of a list the first counts, and what is no number is ignored (RFC 9111 §5.1).
    for (age, expected) in [
        ("10", "10"),
        ("0", "0"),
        ("10,50", "10"),
        ("10, 50", "10"),
        ("0, 0", "0"),
        ("-5", "0"),
        ("x", "0"),
        ("7200;a=1", "0"),
        ("", "0"),
    ] {
        let origin =
            Origin::new(
                move |_, call| async move { respond(200, &[("age", age)], call.to_string()) },
            );
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        let hit = bench.get("/").await;
        assert_eq!(hit.field("age"), expected, "{age}");
        assert_eq!(hit.headers.get_all("age").iter().count(), 1);
        bench
            .clock
            .advance(MINUTE - seconds(expected.parse().unwrap()));
        assert_eq!(bench.get("/").await.text(), "2", "{age}");
    }
    // Older than any lifetime: of no use, and no overflow.
    for age in ["61", "61, 0", "2147483648", "99999999999999999999999"] {
        let origin =
            Origin::new(
                move |_, call| async move { respond(200, &[("age", age)], call.to_string()) },
            );
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        assert_eq!(bench.get("/").await.text(), "2", "{age}");
    }
}

#[tokio::test]
async fn an_age_never_leaves_larger_than_the_standard_allows() {
    let origin = Origin::with_fields(&[("age", "2147483647"), ("cache-control", "public")]);
    let policy = Policy::ttl(Duration::from_secs(u64::from(u32::MAX))).stale_if_error(MINUTE);
    let bench = Bench::new(policy, origin);
    bench.get("/").await;
    bench.clock.advance(seconds(1000));
    assert_eq!(bench.get("/").await.field("age"), "2147483647");
}

#[tokio::test]
async fn a_date_that_is_off_never_lengthens_a_lifetime() {
    for date in [
        "Fri, 31 Dec 2100 23:59:59 GMT",
        "Thu, 01 Jan 1960 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "garbage",
        "",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ] {
        for control in ["max-age=60", "public"] {
            let origin = Origin::new(move |_, call| async move {
                let fields = [("date", date), ("cache-control", control)];
                respond(200, &fields, call.to_string())
            });
            let bench = Bench::new(Policy::ttl(MINUTE), origin);
            bench.get("/").await;
            bench.clock.advance(MINUTE);
            assert_eq!(bench.get("/").await.text(), "2", "{date} {control}");
        }
    }
}
