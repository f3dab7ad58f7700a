//! Routes as they are given, refused and found.

use super::*;
use std::time::Duration;

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(1))
}

fn refusal(routes: Routes) -> String {
    routes.build().expect_err("refused").to_string()
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let table = Routes::new()
        .route("/a/{*rest}", policy())
        .route("/a/{id}", policy())
        .route("/a/b", policy())
        .build()
        .unwrap();
    let found = |path| table.read(path).map(|route| &*route.template);
    assert_eq!(found("/a/b"), Some("/a/b"));
    assert_eq!(found("/a/c"), Some("/a/{id}"));
    assert_eq!(found("/a/c/d"), Some("/a/{*rest}"));
    assert_eq!(found("/b"), None);
}

#[test]
fn a_read_without_a_route_falls_to_the_policy_for_all_others() {
    let table = Routes::new()
        .route("/a", policy())
        .otherwise(policy())
        .build()
        .unwrap();
    assert_eq!(
        table.read("/b").map(|route| &*route.template),
        Some("otherwise")
    );
}

#[test]
fn mistakes_in_routes_are_errors_that_say_what_to_change() {
    for (template, hint) in [
        ("products", "starts with `/`"),
        ("/products?page", "`Policy::when`"),
        ("/products/:id", "`{id}`"),
        ("/products/:id(\\d+)", "`{id}`"),
        ("/products/*rest", "`{*rest}`"),
        ("/products/**", "`{*rest}`"),
        ("/products/*", "`{*rest}`"),
        ("/products/*/parts", "`{name}`"),
        ("/products/{id:[0-9]+}", "Write `{id}`"),
        ("/products/{:id}", "Write `{name}`"),
        ("/products/{id}/parts/{id}", "twice"),
        ("/products/{id}/{*id}", "twice"),
        ("/products/{id", "not a capture"),
        ("/products/{}", "not a capture"),
        ("/products/x{id}", "whole segment"),
        ("/products/{*rest}/more", "stands at the end"),
        ("/a b", "percent-encoded"),
    ] {
        let message = refusal(Routes::new().route(template, policy()));
        assert!(
            message.contains(template) && message.contains(hint),
            "{message}"
        );
        let message = refusal(Routes::new().on_write(template, Evict::tag("t")));
        assert!(
            message.contains(template) && message.contains(hint),
            "{message}"
        );
    }
}

#[test]
fn a_route_as_it_is_suggested_is_taken() {
    let fixed = |template: &str| {
        let message = refusal(Routes::new().route(template, policy()));
        let suggested = message.rsplit("`{").next().unwrap();
        format!("/products/{{{}", suggested.split('`').next().unwrap())
    };
    for template in [
        "/products/**",
        "/products/*",
        "/products/*all",
        "/products/:",
    ] {
        let suggested = fixed(template);
        let routes = Routes::new().route(suggested.as_str(), policy());
        assert!(routes.build().is_ok(), "{template}: {suggested}");
    }
}

#[test]
fn all_rules_that_match_a_write_and_its_method_add_up() {
    let table = Routes::new()
        .on_write("/a/{*rest}", Evict::tag("general"))
        .on_write("/a/{id}", Evict::tag("id-{id}").two_phase())
        .on_write("/a/{name}", Evict::tag("name-{name}"))
        .on_write("/a/b", Evict::tag("literal"))
        .on_write("/a/b", Evict::tag("again").for_methods([Method::DELETE]))
        .build()
        .unwrap();
    let evicted = |method: Method, path: &str| {
        let (evicted, terms) = table.evicted_by(&method, path);
        let tags: Vec<_> = evicted.iter().map(ToString::to_string).collect();
        (
            tags.join(" ").replace(['"'], "").replace("tag ", ""),
            terms.two_phase,
        )
    };
    let all = "general id-b name-b literal";
    assert_eq!(evicted(Method::PUT, "/a/b"), (all.to_owned(), true));
    let all = "general id-b name-b literal again";
    assert_eq!(evicted(Method::DELETE, "/a/b"), (all.to_owned(), true));
    assert_eq!(evicted(Method::PUT, "/a/b/c"), ("general".into(), false));
    assert_eq!(evicted(Method::PUT, "/b"), (String::new(), false));
}

#[test]
fn a_policy_that_contradicts_itself_is_refused() {
    let second = Duration::from_secs(1);
    let stale = || policy().stale_if_error(second);
    let partition = |policy: Policy| policy.partition_by(|_| None);
    for (policy, hint) in [
        (policy().clamp_ttl(second * 2, second), "swap"),
        (policy().soft_timeout(second), "`stale_if_error`"),
        (
            policy().stale_while_revalidate(second).soft_timeout(second),
            "`stale_if_error`",
        ),
        (stale().soft_timeout(second).hard_timeout(second), "shorter"),
        (partition(policy()).shared_with_everyone(), "`partition_by`"),
        (partition(policy().shared_with_everyone()), "`partition_by`"),
        (partition(partition(policy())), "`partition_by`"),
        (
            policy().store_set_cookie().store_without_set_cookie(),
            "Set-Cookie",
        ),
    ] {
        let message = refusal(Routes::new().route("/a", policy.clone()));
        assert!(
            message.contains("`/a`") && message.contains(hint),
            "{message}"
        );
        assert!(refusal(Routes::new().otherwise(policy)).contains(hint));
    }
    for policy in [
        policy().clamp_ttl(second, second),
        policy().clamp_ttl(second, Duration::MAX),
        stale().soft_timeout(second),
        stale().soft_timeout(second).hard_timeout(second * 2),
        policy().stale_if_error(Duration::ZERO).soft_timeout(second),
        Policy::origin_decides().soft_timeout(second),
        policy().shared_with_everyone().shared_with_everyone(),
    ] {
        assert!(Routes::new().route("/a", policy).build().is_ok());
    }
}

#[test]
fn a_rule_that_can_never_evict_anything_is_refused() {
    let long = "t".repeat(1025);
    for (evict, hint) in [
        (Evict::tag(""), "empty"),
        (Evict::tag(long.as_str()), "1024"),
        (Evict::pattern("/b#top"), "`%23`"),
        (Evict::tag("t").for_methods([]), "names no method"),
        (
            Evict::tag("t").for_methods([Method::PUT, Method::GET]),
            "GET",
        ),
    ] {
        let message = refusal(Routes::new().on_write("/a", evict));
        assert!(
            message.contains("`/a`") && message.contains(hint),
            "{message}"
        );
    }
    for (tag, hint) in [("", "empty"), (long.as_str(), "1024")] {
        let message = refusal(Routes::new().route("/a", policy().tag(tag)));
        assert!(
            message.contains("`/a`") && message.contains(hint),
            "{message}"
        );
    }
    assert!(
        Routes::new()
            .on_write("/a", Evict::tag(&long[1..]))
            .build()
            .is_ok()
    );
}

#[test]
fn a_route_that_could_never_be_reached_is_refused() {
    let twice = Routes::new()
        .route("/a/{id}", policy())
        .route("/a/{id}", policy());
    assert!(refusal(twice).contains("given twice"));
    let renamed = Routes::new()
        .route("/a/{id}", policy())
        .route("/a/{name}", policy());
    assert!(refusal(renamed).contains("/a/{id}"));
}

#[test]
fn a_capture_that_the_template_does_not_bind_is_refused() {
    let write = Routes::new().on_write("/a/{id}", Evict::pattern("/b/{key}"));
    let message = refusal(write);
    assert!(
        message.contains("key") && message.contains("id"),
        "{message}"
    );
    let tag = Routes::new().route("/a/{id}", policy().tag("user:{name}"));
    let message = refusal(tag);
    assert!(
        message.contains("name") && message.contains("/a/{id}"),
        "{message}"
    );
}

#[test]
fn a_no_vary_search_value_that_does_not_parse_is_refused() {
    let message = refusal(Routes::new().route("/a", policy().no_vary_search("params=(id)")));
    assert!(
        message.contains("/a") && message.contains("except"),
        "{message}"
    );
    let good = policy().no_vary_search("key-order, params=(\"utm_source\")");
    assert!(Routes::new().route("/a", good).build().is_ok());
}

#[test]
fn doubled_braces_are_literal() {
    let table = Routes::new().route("/a/{{b}}", policy()).build().unwrap();
    assert!(table.read("/a/{b}").is_some());
}
