//! `examples/quickstart.rs`.

use std::time::Duration;

use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::programs::{Answer, Program, read_until, run, run_with};

const SLOW: Duration = Duration::from_millis(290);
const JSON: (&str, &str) = ("content-type", "application/json");

async fn put(shop: &Program, path: &str, body: &'static str) -> Answer {
    shop.send(Method::PUT, path, &[JSON], body).await
}

#[tokio::test]
async fn the_second_read_is_a_hit_and_a_write_makes_the_next_a_miss() {
    let shop = Program::start("quickstart", &[]);
    for path in ["/products/1", "/products", "/search?q=tea"] {
        let first = shop.get(path).await;
        assert_eq!((first.status(), &*first.x_cache()), (200, "MISS"), "{path}");
        assert!(first.took >= SLOW, "{path} took {:?}", first.took);
        let second = shop.get(path).await;
        assert_eq!(second.x_cache(), "HIT", "{path}");
        assert!(second.took < SLOW / 2, "{path} took {:?}", second.took);
        assert_eq!(first.body(), second.body(), "{path}");
    }

    let changed = put(&shop, "/products/1", r#"{"price": 7.5}"#).await;
    assert_eq!(changed.status(), 200);
    assert_eq!(changed.json()["version"], 2);

    let after = shop.get("/products/1").await;
    assert_eq!(after.x_cache(), "MISS");
    assert_eq!(
        (&after.json()["price"], &after.json()["version"]),
        (&7.5.into(), &2.into())
    );
    for path in ["/products", "/search?q=tea"] {
        let after = shop.get(path).await;
        assert_eq!(after.x_cache(), "MISS", "{path}");
        assert_eq!(after.json()[0]["version"], 2, "{path}");
    }
}

#[tokio::test]
async fn a_write_to_one_product_leaves_the_others() {
    let shop = Program::start("quickstart", &[]);
    shop.get("/products/2").await;
    assert_eq!(
        put(&shop, "/products/1", r#"{"price": 1}"#).await.status(),
        200
    );
    assert_eq!(shop.get("/products/2").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_write_that_fails_evicts_nothing() {
    let shop = Program::start("quickstart", &[]);
    shop.get("/products/1").await;
    for (path, body, status, reason) in [
        ("/products/1", "{\"price\": ", 400, "JSON"),
        ("/products/1", "{}", 422, "price"),
        ("/products/1", "{\"price\": \"free\"}", 422, "price"),
        ("/products/1", "{\"price\": -1}", 422, "negative"),
        ("/products/99", "{\"price\": 1}", 404, "99"),
        ("/products/tea", "{\"price\": 1}", 404, "tea"),
    ] {
        let refused = put(&shop, path, body).await;
        assert_eq!(refused.status(), status, "{path} {body}");
        let error = refused.json()["error"].to_string();
        assert!(error.contains(reason), "{path} {body}: {error}");
    }
    let untyped = shop
        .send(Method::PUT, "/products/1", &[], "{\"price\": 1}")
        .await;
    assert_eq!(untyped.status(), 415);
    assert_eq!(shop.get("/products/1").await.x_cache(), "HIT");
}

#[tokio::test]
async fn an_unknown_product_is_not_found_and_not_stored() {
    let shop = Program::start("quickstart", &[]);
    for path in ["/products/99", "/products/tea"] {
        for _ in 0..2 {
            let answer = shop.get(path).await;
            assert_eq!(
                (answer.status(), &*answer.x_cache()),
                (404, "MISS"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_search_for_nothing_is_not_stored() {
    let shop = Program::start("quickstart", &[]);
    for _ in 0..2 {
        assert_eq!(shop.get("/search?q=").await.x_cache(), "BYPASS");
    }
}

#[tokio::test]
async fn who_one_is_never_reaches_another() {
    let shop = Program::start("quickstart", &[]);
    for name in ["ada", "bob", "ada", "bob"] {
        let bearer = format!("Bearer {name}");
        let answer = shop.get_with("/me", &[("authorization", &bearer)]).await;
        assert_eq!(answer.json()["name"], name);
        assert_eq!(answer.x_cache(), "BYPASS");
    }
    assert_eq!(shop.get("/me").await.status(), 401);
}

#[tokio::test]
async fn events_arrive_as_they_happen() {
    let shop = Program::start("quickstart", &[]);
    let mut stream = TcpStream::connect(shop.address).await.unwrap();
    let request = "GET /events HTTP/1.1\r\nHost: shop\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let began = std::time::Instant::now();
    let first = read_until(&mut stream, "data: 1\n").await;
    assert!(
        began.elapsed() < Duration::from_millis(250),
        "{:?}",
        began.elapsed()
    );
    assert!(!first.contains("data: 2\n"));
    read_until(&mut stream, "data: 2\n").await;
    assert!(
        shop.stop().success(),
        "an open stream must not keep the program from stopping"
    );
}

#[tokio::test]
async fn cache_bypass_switches_the_cache_off() {
    let shop = Program::start_with("quickstart", &[], &[("CACHE_BYPASS", "true")]);
    for _ in 0..2 {
        let answer = shop.get("/products/1").await;
        assert_eq!(answer.x_cache(), "BYPASS");
        assert!(answer.took >= SLOW);
    }
}

#[tokio::test]
async fn cache_bypass_is_off_unless_it_says_true() {
    for value in ["", "false", "0"] {
        let shop = Program::start_with("quickstart", &[], &[("CACHE_BYPASS", value)]);
        assert_eq!(shop.get("/products/1").await.x_cache(), "MISS", "{value:?}");
    }
    let shop = Program::start_with("quickstart", &[], &[("CACHE_BYPASS", "1")]);
    assert_eq!(shop.get("/products/1").await.x_cache(), "BYPASS");
    let output = run_with("quickstart", &[], &[("CACHE_BYPASS", "perhaps")]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("\"perhaps\": expected true or false"),
        "{error}"
    );
}

#[tokio::test]
async fn an_occupied_port_is_named_with_a_way_out() {
    let occupied = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let output = run("quickstart", &["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains(&address) && error.contains("--listen"),
        "{error}"
    );
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    let output = run("quickstart", &["--listen", "somewhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("'somewhere'"));

    let output = run_with("quickstart", &[], &[("REDIS_URL", "nonsense")]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("redis://"), "{error}");
}

#[tokio::test]
async fn a_redis_that_is_not_there_takes_nothing_from_the_shop() {
    // A port that nobody listens on: it was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let shop = Program::start_with("quickstart", &[], &[("REDIS_URL", &url)]);
    for _ in 0..2 {
        assert_eq!(shop.get("/products/1").await.status(), 200);
    }
}
