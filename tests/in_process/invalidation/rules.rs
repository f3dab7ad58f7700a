//! What evicts what: rules, tags, groups, locations and methods.

use http::Method;
use tower_response_cache::{CacheDirective, Evict, Invalidate, Invalidation, Policy, Routes};

use super::{Data, assert_evicted, assert_hits, policy, put, warm, warm_again};
use crate::support::{Bench, Origin, request, respond};

#[tokio::test]
async fn a_write_evicts_what_its_rules_name_and_nothing_else() {
    let routes = Routes::new()
        .route("/users/{id}", policy().tag("user:{id}"))
        .route(
            "/users/{id}/orders",
            policy().tag("user:{id}").tag("orders"),
        )
        .route("/orders", policy().tag("orders"))
        .otherwise(policy())
        .on_write(
            "/orders/{user}/{order}",
            Evict::pattern("/users/{user}/**").and_tag("orders"),
        )
        .on_write("/names/{user}", Evict::tag("user:{user}"))
        .on_write("/reset", Evict::everything());
    let bench = Data::default().bench_with(routes);
    let all = [
        "/users/1",
        "/users/1/orders",
        "/users/2",
        "/users/2/orders",
        "/orders",
        "/else",
    ];
    for (written, evicted, kept) in [
        (
            "/orders/1/77",
            &["/users/1", "/users/1/orders", "/users/2/orders", "/orders"][..],
            &["/users/2", "/else"][..],
        ),
        (
            "/names/2",
            &["/users/2", "/users/2/orders"],
            &["/users/1", "/users/1/orders", "/orders", "/else"],
        ),
        ("/reset", &all, &[]),
        ("/unrelated", &[], &all),
    ] {
        warm_again(&bench, &all).await;
        bench.ask(put(written)).await;
        assert_hits(&bench, kept, written).await;
        assert_evicted(&bench, evicted, written).await;
    }
}

#[tokio::test]
async fn rules_of_several_templates_that_match_one_write_add_up() {
    let routes = Routes::new()
        .route("/dashboard", policy().tag("catalogue"))
        .otherwise(policy())
        .on_write("/products/{*rest}", Evict::tag("catalogue"))
        .on_write("/products/{id}", Evict::pattern("/products/{id}/**"))
        .on_write("/products/{name}", Evict::pattern("/names/{name}"))
        .on_write("/products/7", Evict::pattern("/seven"));
    let bench = Data::default().bench_with(routes);
    let all = ["/dashboard", "/products/7/parts", "/names/7", "/seven"];
    for (written, evicted, kept) in [
        ("/products/7", &all[..], &[][..]),
        ("/products/%37", &all, &[]),
        ("/products/8", &all[..1], &all[1..]),
        ("/products/7/parts", &all[..2], &all[2..]),
        ("/else", &[], &all),
    ] {
        warm_again(&bench, &all).await;
        bench.ask(put(written)).await;
        assert_hits(&bench, kept, written).await;
        assert_evicted(&bench, evicted, written).await;
    }
}

#[tokio::test]
async fn a_rule_that_names_methods_leaves_other_writes_alone() {
    let routes = Routes::new()
        .otherwise(policy())
        .on_write(
            "/items/{id}",
            Evict::pattern("/list").for_methods([Method::DELETE, Method::POST]),
        )
        .on_write("/items/{id}", Evict::pattern("/any"));
    let bench = Data::default().bench_with(routes);
    let all = ["/any", "/list"];
    for (method, evicted) in [("PUT", 1), ("DELETE", 2), ("POST", 2), ("UNHEARD-OF", 1)] {
        warm_again(&bench, &all).await;
        bench.ask(request(method, "/items/1", &[])).await;
        assert_hits(&bench, &all[evicted..], method).await;
        assert_evicted(&bench, &all[..evicted], method).await;
    }
}

#[tokio::test]
async fn a_write_evicts_its_own_uri_with_every_query() {
    let bench = Data::default().bench(policy());
    let uris = ["/a", "/a?x=1", "/a?x=2", "/a/b", "/ab"];
    warm(&bench, &uris).await;
    bench.ask(put("/a")).await;
    assert_evicted(&bench, &["/a", "/a?x=1", "/a?x=2"], "PUT /a").await;
    assert_hits(&bench, &["/a/b", "/ab"], "PUT /a").await;
    for written in ["/a?x=1", "/a?notify=true", "/a?"] {
        warm_again(&bench, &uris).await;
        bench.ask(put(written)).await;
        assert_evicted(&bench, &["/a", "/a?x=1", "/a?x=2"], written).await;
        assert_hits(&bench, &["/a/b", "/ab"], written).await;
    }
}

#[tokio::test]
async fn handlers_tag_their_responses_by_extension_and_by_fields() {
    let origin = Origin::new(|request, _| async move {
        match request.uri().path() {
            "/extension" => {
                let mut response = respond(200, &[], "");
                let directive = CacheDirective::new().tag("t");
                response.extensions_mut().insert(directive);
                response
            }
            "/surrogate-key" => respond(200, &[("surrogate-key", "a t b")], ""),
            "/cache-tag" => respond(200, &[("cache-tag", "a, t,b")], ""),
            "/cache-groups" => respond(200, &[("cache-groups", "\"a\", \"t\"")], ""),
            _ => respond(200, &[("cache-tag", "tt")], ""),
        }
    });
    let bench = Bench::new(policy(), origin);
    let tagged = [
        "/extension",
        "/surrogate-key",
        "/cache-tag",
        "/cache-groups",
    ];
    warm(&bench, &tagged).await;
    warm(&bench, &["/else"]).await;
    bench.handle.invalidate_tag("t").await.unwrap();
    assert_hits(&bench, &["/else"], "tag t").await;
    assert_evicted(&bench, &tagged, "tag t").await;
}

#[tokio::test]
async fn a_write_names_groups_to_invalidate_and_a_read_does_not() {
    let data = Data::with_fields(&[("cache-groups", "\"g\"")]);
    let bench = data.bench(policy());
    let field = [("x-field", "cache-group-invalidation: \"g\"")];
    warm(&bench, &["/a"]).await;
    bench.ask(request("GET", "/b", &field)).await;
    assert_hits(&bench, &["/a"], "GET").await;
    bench.ask(request("POST", "/c", &field)).await;
    assert_evicted(&bench, &["/a"], "POST").await;
}

#[tokio::test]
async fn handlers_invalidate_by_extension_on_any_method() {
    let origin = Origin::new(|request, call| async move {
        let status = request.headers().get("x-status");
        let status = status.map_or(200, |status| status.to_str().unwrap().parse().unwrap());
        let mut response = respond(status, &[], call.to_string());
        if request.uri().path() != "/a" {
            let what = [Invalidation::uri("/a"), Invalidation::tag("none")];
            response.extensions_mut().insert(Invalidate::new(what));
        }
        response
    });
    let routes = Routes::new()
        .route("/a", policy())
        .route("/cached", policy())
        .route("/bypassed", Policy::bypass());
    let bench = Bench::with_routes(routes, origin);
    for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "QUERY"] {
        for uri in ["/cached", "/bypassed", "/unrouted"] {
            let what = format!("{method} {uri}");
            warm(&bench, &["/a"]).await;
            bench
                .ask(request(method, uri, &[("x-status", "500")]))
                .await;
            assert_hits(&bench, &["/a"], &what).await;
            bench.ask(request(method, uri, &[])).await;
            assert_evicted(&bench, &["/a"], &what).await;
            bench.handle.invalidate_uri("/cached").await.unwrap();
        }
    }
}

#[tokio::test]
async fn locations_are_evicted_within_the_same_origin_only() {
    let bench = Data::default().bench(policy());
    let host = [("host", "example.com")];
    for (field, evicts) in [
        ("location: /new", true),
        ("content-location: /new", true),
        ("location: new", true),
        ("location: http://example.com/new", true),
        ("location: //example.com/new", true),
        ("location: http://other.com/new", false),
        ("location: //other.com/new", false),
        ("location: http://example.com:8080/new", false),
        ("content-location: http://other.com/new", false),
        ("link: /new", false),
    ] {
        bench.ask(request("GET", "/new", &host)).await;
        let fields = [
            ("host", "example.com"),
            ("x-field", field),
            ("x-status", "201"),
        ];
        bench.ask(request("POST", "/things", &fields)).await;
        let next = bench.ask(request("GET", "/new", &host)).await;
        assert_eq!(
            next.x_cache(),
            if evicts { "MISS" } else { "HIT" },
            "{field}"
        );
    }
}

#[tokio::test]
async fn only_writes_that_may_have_been_made_evict() {
    let bench = Data::default().bench(policy());
    for (status, evicts) in [
        ("200", true),
        ("201", true),
        ("204", true),
        ("206", true),
        ("299", true),
        ("301", true),
        ("303", true),
        ("304", true),
        ("399", true),
        ("400", false),
        ("404", false),
        ("409", false),
        ("412", false),
        ("499", false),
        ("500", false),
        ("503", false),
        ("599", false),
    ] {
        warm_again(&bench, &["/a"]).await;
        bench
            .ask(request("PUT", "/a", &[("x-status", status)]))
            .await;
        let next = bench.get("/a").await;
        assert_eq!(
            next.x_cache(),
            if evicts { "MISS" } else { "HIT" },
            "{status}"
        );
    }
}

#[tokio::test]
async fn unsafe_and_unknown_methods_evict_and_safe_ones_do_not() {
    let bench = Data::default().bench(policy());
    for (method, evicts) in [
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("DELETE", true),
        ("FROB", true),
        ("MKCOL", true),
        ("get", true),
        ("GET", false),
        ("HEAD", false),
        ("OPTIONS", false),
        ("TRACE", false),
        ("PROPFIND", false),
        ("QUERY", false),
    ] {
        warm_again(&bench, &["/a"]).await;
        bench.ask(request(method, "/a", &[])).await;
        let next = bench.get("/a").await;
        assert_eq!(
            next.x_cache(),
            if evicts { "MISS" } else { "HIT" },
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_write_that_is_repeated_runs_again() {
    let data = Data::default();
    let bench = data.bench(policy());
    for method in ["POST", "PUT", "DELETE"] {
        let before = bench.origin.calls();
        let first = bench.ask(request(method, "/a", &[])).await;
        let second = bench.ask(request(method, "/a", &[])).await;
        assert_eq!(bench.origin.calls(), before + 2, "{method}");
        assert_ne!(first.text(), second.text());
        assert_eq!(second.x_cache(), "BYPASS");
    }
}
