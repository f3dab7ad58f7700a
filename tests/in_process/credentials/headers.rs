//! Headers other than `Authorization` and `Cookie` that say who asks, or for which tenant.

use http::Version;
use http::header::{self, HeaderName};
use tower_response_cache::{CacheLayer, CacheLayerBuilder, Policy, Routes};

use crate::support::{Bench, MINUTE, Origin, TestRequest, request, respond, sent};

/// Headers that carry credentials or identities.
const CREDENTIAL: [&str; 40] = [
    "api-key",
    "cf-access-authenticated-user-email",
    "cf-access-jwt-assertion",
    "client-cert",
    "dpop",
    "impersonate-user",
    "ocp-apim-subscription-key",
    "private-token",
    "proxy-authorization",
    "remote-groups",
    "remote-user",
    "ssl-client-cert",
    "tailscale-user-login",
    "x-access-token",
    "x-amz-security-token",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-api-key",
    "x-auth-request-email",
    "x-auth-request-user",
    "x-auth-token",
    "x-client-cert",
    "x-client-cert-chain",
    "x-consumer-username",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-user",
    "x-goog-authenticated-user-email",
    "x-goog-iap-jwt-assertion",
    "x-ms-client-principal",
    "x-ms-client-principal-name",
    "x-ms-token-aad-id-token",
    "x-remote-user",
    "x-session-token",
    "x-shopify-access-token",
    "x-ssl-client-cert",
    "x-user-id",
    "x-webauth-user",
];

/// Headers that name a tenant, or the host that a handler builds links from.
const KEYED: [&str; 10] = [
    "stripe-account",
    "tenant-id",
    "x-account-id",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-host",
    "x-org-id",
    "x-original-host",
    "x-tenant-id",
    "x-workspace-id",
];

fn builder(policy: Policy) -> CacheLayerBuilder {
    CacheLayer::builder().routes(Routes::new().otherwise(policy))
}

/// An origin that answers with what the request says in one header.
fn secrets_by(name: &'static str) -> Origin {
    Origin::new(move |request, _| {
        let secrets = format!("secrets of {}", sent(&request, name));
        async move { respond(200, &[], secrets) }
    })
}

fn over(version: Version, name: &str, value: &str) -> TestRequest {
    let mut request = request("GET", "/me", &[(name, value)]);
    *request.version_mut() = version;
    request
}

#[tokio::test]
async fn an_answer_for_one_credential_is_given_to_nobody_else_whatever_header_carries_it() {
    for name in CREDENTIAL {
        for policy in [Policy::ttl(MINUTE), Policy::ttl(MINUTE).ttl_overrides()] {
            let bench = Bench::new(policy, secrets_by(name));
            for version in [Version::HTTP_11, Version::HTTP_2] {
                for who in ["ada", "ben", ""] {
                    let answer = bench.ask(over(version, name, who)).await;
                    assert_eq!(answer.text(), format!("secrets of {who}"), "{name}");
                    assert_eq!(answer.x_cache(), "BYPASS", "{name}");
                    let status = answer.field("cache-status");
                    let says = ["fwd=bypass", "detail=credential"];
                    assert!(says.iter().all(|word| status.contains(word)), "{status}");
                }
            }
            let nobody = bench.get("/me").await;
            assert_eq!(nobody.text(), "secrets of -", "{name}");
            // What is stored for nobody is not given to ada either.
            let ada = bench.get_with("/me", &[(name, "ada")]).await;
            assert_eq!(ada.text(), "secrets of ada", "{name}");
            assert_eq!(bench.get("/me").await.x_cache(), "HIT", "{name}");
        }
    }
}

#[tokio::test]
async fn a_response_for_everyone_is_shared_whatever_header_carries_the_credential() {
    for directive in ["public", "s-maxage=60", "must-revalidate, max-age=60"] {
        let origin = Origin::new(move |_, call| async move {
            respond(200, &[("cache-control", directive)], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get_with("/", &[("x-api-key", "ada")]).await;
        for fields in [&[("x-api-key", "ben")][..], &[("remote-user", "cy")], &[]] {
            let answer = bench.get_with("/", fields).await;
            assert_eq!(answer.x_cache(), "HIT", "{directive} {fields:?}");
        }
    }
    // Stated freshness alone is no consent, even where the origin decides.
    let origin = Origin::with_fields(&[("cache-control", "max-age=60")]);
    let bench = Bench::new(Policy::origin_decides(), origin);
    bench.get_with("/", &[("x-api-key", "ada")]).await;
    assert_eq!(
        bench.get_with("/", &[("x-api-key", "ben")]).await.text(),
        "2"
    );
}

#[tokio::test]
async fn policies_that_say_whom_a_page_is_for_hold_for_every_credential() {
    let shared = Policy::ttl(MINUTE).shared_with_everyone();
    let bench = Bench::new(shared, Origin::counting());
    bench.get_with("/", &[("x-api-key", "ada")]).await;
    assert_eq!(
        bench.get_with("/", &[("x-api-key", "ben")]).await.x_cache(),
        "HIT"
    );

    let by_user = |parts: &http::request::Parts| {
        let user = parts.headers.get("x-forwarded-user")?;
        Some(user.to_str().ok()?.to_owned())
    };
    let bench = Bench::new(
        Policy::ttl(MINUTE).partition_by(by_user),
        secrets_by("x-forwarded-user"),
    );
    for expected in ["MISS", "HIT"] {
        for who in ["ada", "ben"] {
            let answer = bench.get_with("/me", &[("x-forwarded-user", who)]).await;
            assert_eq!(answer.text(), format!("secrets of {who}"));
            assert_eq!(answer.x_cache(), expected);
        }
    }
}

#[tokio::test]
async fn a_tenant_and_a_host_by_another_name_are_part_of_the_key() {
    for name in KEYED {
        let bench = Bench::new(Policy::ttl(MINUTE), secrets_by(name));
        for expected in ["MISS", "HIT"] {
            for who in ["acme", "bolt", ""] {
                let answer = bench.get_with("/", &[(name, who)]).await;
                assert_eq!(answer.text(), format!("secrets of {who}"), "{name}");
                assert_eq!(answer.x_cache(), expected, "{name}");
            }
            let nobody = bench.get("/").await;
            assert_eq!(
                (nobody.x_cache(), nobody.text()),
                (expected, "secrets of -")
            );
        }
    }
}

#[tokio::test]
async fn headers_that_come_with_every_page_are_left_alone() {
    for name in [
        "x-csrf-token",
        "x-xsrf-token",
        "csrf-token",
        "x-csrftoken",
        "x-requested-with",
        "x-request-id",
        "x-correlation-id",
        "traceparent",
        "x-forwarded-for",
        "x-real-ip",
        "cf-connecting-ip",
        "x-user-agent",
        "sec-fetch-mode",
    ] {
        let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
        bench.get_with("/", &[(name, "a")]).await;
        assert_eq!(
            bench.get_with("/", &[(name, "b")]).await.x_cache(),
            "HIT",
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_header_that_is_added_takes_no_default_away() {
    let own = HeaderName::from_static("x-own");
    for builder in [
        builder(Policy::ttl(MINUTE)).also_bypass(own.clone()),
        builder(Policy::ttl(MINUTE)).also_key(own.clone()),
        builder(Policy::ttl(MINUTE)).credential_header(own.clone()),
        builder(Policy::ttl(MINUTE)).ignore_header(own.clone()),
    ] {
        let bench = Bench::with_builder(builder, Origin::counting());
        bench.get("/").await;
        for (name, expected) in [
            ("x-http-method-override", "BYPASS"),
            ("x-original-url", "BYPASS"),
            ("x-api-key", "BYPASS"),
            ("cookie", "BYPASS"),
            ("x-forwarded-host", "MISS"),
            ("x-tenant-id", "MISS"),
        ] {
            assert_eq!(
                bench.get_with("/", &[(name, "x")]).await.x_cache(),
                expected
            );
        }
    }
}

#[tokio::test]
async fn a_header_of_ones_own_is_what_it_is_said_to_be() {
    // Standard names, which are looked at for other reasons, as well as others.
    for name in ["x-own", "origin", "te", "pragma", "user-agent", "x-api-key"] {
        let own = HeaderName::from_static(name);
        for (builder, detail) in [
            (
                builder(Policy::ttl(MINUTE)).also_bypass(own.clone()),
                "header",
            ),
            (
                builder(Policy::ttl(MINUTE)).credential_header(own.clone()),
                "credential",
            ),
        ] {
            let bench = Bench::with_builder(builder, Origin::counting());
            bench.get("/").await;
            let answer = bench.get_with("/", &[(name, "x")]).await;
            assert_eq!(answer.x_cache(), "BYPASS", "{name}");
            let detail = format!("detail={detail}");
            assert!(answer.field("cache-status").contains(&detail), "{name}");
        }
        let keyed = builder(Policy::ttl(MINUTE)).also_key(own.clone());
        let bench = Bench::with_builder(keyed, secrets_by(name));
        for expected in ["MISS", "HIT"] {
            for who in ["ada", "ben"] {
                let answer = bench.get_with("/", &[(name, who)]).await;
                assert_eq!(answer.text(), format!("secrets of {who}"), "{name}");
                assert_eq!(answer.x_cache(), expected, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_default_is_taken_away_by_name_alone() {
    for name in [
        "x-api-key",
        "x-ms-token-aad-id-token",
        "x-original-url",
        "x-forwarded-host",
    ] {
        let own = HeaderName::from_static(name);
        let bench = Bench::with_builder(
            builder(Policy::ttl(MINUTE)).ignore_header(own),
            Origin::counting(),
        );
        bench.get_with("/", &[(name, "a")]).await;
        assert_eq!(
            bench.get_with("/", &[(name, "b")]).await.x_cache(),
            "HIT",
            "{name}"
        );
        let neighbour = [("x-ms-token-google-id-token", "a")];
        assert_eq!(bench.get_with("/", &neighbour).await.x_cache(), "BYPASS");
    }
    for name in [header::AUTHORIZATION, header::COOKIE] {
        let refused = builder(Policy::ttl(MINUTE)).ignore_header(name).build();
        let error = refused.expect_err("a leak without a word").to_string();
        assert!(error.contains("shared_with_everyone"), "{error}");
    }
}

#[tokio::test]
async fn a_credential_in_a_header_that_selects_is_not_readable_in_what_is_listed() {
    let policy = Policy::ttl(MINUTE)
        .shared_with_everyone()
        .key_header(HeaderName::from_static("x-auth-token"));
    let bench = Bench::with_builder(
        builder(policy).also_key(HeaderName::from_static("remote-user")),
        Origin::with_fields(&[("vary", "x-api-key, x-goog-iap-jwt-assertion")]),
    );
    let names = [
        "x-api-key",
        "x-goog-iap-jwt-assertion",
        "x-auth-token",
        "remote-user",
    ];
    let fields: Vec<_> = names.iter().map(|name| (*name, "s3cret")).collect();
    bench.get_with("/", &fields).await;
    assert_eq!(bench.get_with("/", &fields).await.x_cache(), "HIT");
    let listed = bench.handle.entries(&Default::default()).expect("a list");
    assert_eq!(listed.matched, 1);
    let shown = format!("{listed:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
}
