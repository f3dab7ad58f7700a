//! Spans and events.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tower::Layer as _;
use tower_response_cache::{CacheLayer, Evict, Policy, Routes};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::{bench, shop};
use crate::support::{Bench, Origin, logs, request, respond, seconds, settle};

/// A span or an event under our target: its name or message, its fields, and the spans around it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    what: String,
    fields: BTreeMap<&'static str, String>,
    within: Vec<&'static str>,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("-", String::as_str)
    }
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.what = value,
            name => drop(self.fields.insert(name, value)),
        }
    }
}

/// Sees all that is traced.
#[derive(Clone, Default)]
struct Watcher(Arc<Mutex<Vec<Told>>>);

/// A span, or an event, which has no identity.
type Told = (Option<Id>, Seen);

impl Watcher {
    /// Returns what was seen under a name, in the order it began.
    fn all(&self, what: &str) -> Vec<Seen> {
        let seen = self.0.lock().unwrap();
        let named = |(_, seen): &&Told| seen.what == what;
        seen.iter()
            .filter(named)
            .map(|(_, seen)| seen.clone())
            .collect()
    }

    fn watch(&self) -> tracing::subscriber::DefaultGuard {
        logs::listen(tracing_subscriber::registry().with(self.clone()))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Watcher {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != "tower_response_cache" {
            return;
        }
        let around = context.span_scope(id).into_iter().flatten().skip(1);
        let mut seen = Seen {
            what: attributes.metadata().name().to_owned(),
            within: around.map(|span| span.name()).collect(),
            ..Seen::default()
        };
        attributes.record(&mut seen);
        self.0.lock().unwrap().push((Some(id.clone()), seen));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut all = self.0.lock().unwrap();
        let own = |(known, _): &&mut Told| known.as_ref() == Some(id);
        if let Some((_, seen)) = all.iter_mut().rev().find(own) {
            values.record(seen);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !event
            .metadata()
            .target()
            .starts_with("tower_response_cache")
        {
            return;
        }
        let mut seen = Seen {
            within: context
                .event_scope(event)
                .into_iter()
                .flatten()
                .map(|span| span.name())
                .collect(),
            ..Seen::default()
        };
        event.record(&mut seen);
        self.0.lock().unwrap().push((None, seen));
    }
}

#[tokio::test]
async fn a_hit_names_the_fill_that_made_what_it_is_given() {
    let watcher = Watcher::default();
    let _watched = watcher.watch();
    let bench = bench();
    for uri in ["/products/7", "/products/8", "/products/7"] {
        bench.get(uri).await;
    }
    let fills = watcher.all("cache_fill");
    assert_eq!(fills.len(), 2);
    assert_eq!(
        (fills[0].field("route"), fills[0].field("why")),
        ("/products/{id}", "uri-miss")
    );
    assert_ne!(fills[0].field("fill"), fills[1].field("fill"));
    let answers = watcher.all("answered");
    let told: Vec<_> = answers
        .iter()
        .map(|seen| {
            (
                seen.field("outcome"),
                seen.field("reason"),
                seen.field("filled_by"),
            )
        })
        .collect();
    let expected = [
        ("miss", "uri-miss", "-"),
        ("miss", "uri-miss", "-"),
        ("hit", "-", fills[0].field("fill")),
    ];
    assert_eq!(told, expected);
    let stored = watcher.all("stored");
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0].within, ["cache_fill"]);
}

#[tokio::test]
async fn a_refresh_is_told_apart_and_what_it_brings_names_it() {
    let watcher = Watcher::default();
    let _watched = watcher.watch();
    let bench = bench();
    bench.get("/products/7").await;
    bench.clock.advance(seconds(70));
    bench.get("/products/7").await;
    settle().await;
    bench.get("/products/7").await;
    let refreshes = watcher.all("cache_refresh");
    assert_eq!(refreshes.len(), 1);
    assert_eq!(refreshes[0].field("route"), "/products/{id}");
    let fills = watcher.all("cache_fill");
    assert_eq!(fills[1].within, ["cache_refresh"]);
    assert_eq!(fills[1].field("why"), "stale");
    let answers = watcher.all("answered");
    assert_eq!(answers[1].field("reason"), "stale-while-revalidate");
    assert_eq!(answers[1].field("filled_by"), fills[0].field("fill"));
    assert_eq!(answers[2].field("filled_by"), fills[1].field("fill"));
    assert_eq!(answers.len(), 3);
}

#[tokio::test]
async fn invalidations_are_told_as_they_were_asked_for() {
    let watcher = Watcher::default();
    let _watched = watcher.watch();
    let bench = bench();
    bench.ask(request("PUT", "/products/7", &[])).await;
    bench.handle.invalidate_tag("a").await.unwrap();
    let told = watcher.all("invalidated");
    let told: Vec<_> = told.iter().map(|seen| seen.field("what")).collect();
    assert_eq!(told, ["/products/**", "/products/7", "tag \"a\""]);
}

#[tokio::test]
async fn a_handler_works_within_the_span_of_its_fill() {
    let watcher = Watcher::default();
    let _watched = watcher.watch();
    let origin = Origin::new(|_, _| async {
        tracing::info!(target: "tower_response_cache::test", "handled");
        respond(200, &[], "x")
    });
    let bench = Bench::with_builder(shop(), origin);
    let span = tracing::info_span!("outside");
    tracing::Instrument::instrument(bench.get("/products/7"), span).await;
    let handled = watcher.all("handled");
    assert_eq!(handled[0].within, ["cache_fill", "outside"]);
}

#[tokio::test]
async fn a_cache_without_routes_says_once_that_it_caches_nothing() {
    let warned = |layer: &CacheLayer| {
        let watcher = Watcher::default();
        let guard = watcher.watch();
        let service =
            tower::service_fn(|_: http::Request<()>| std::future::pending::<Result<(), ()>>());
        for _ in 0..3 {
            drop(layer.layer(service));
        }
        drop(guard);
        let all = watcher.0.lock().unwrap();
        all.iter()
            .filter(|(_, seen)| seen.what.contains("no routes"))
            .count()
    };
    let built = |routes| CacheLayer::builder().routes(routes).build().unwrap();
    let empty = built(Routes::new());
    assert_eq!((warned(&empty), warned(&empty)), (1, 0));
    let by_hand = built(Routes::new()).handle();
    let minute = Policy::ttl(seconds(60));
    assert_eq!(warned(&by_hand.layer(minute.clone()).unwrap()), 0);
    assert_eq!(warned(&built(Routes::new().route("/a", minute.clone()))), 0);
    assert_eq!(warned(&built(Routes::new().otherwise(minute))), 0);
    assert_eq!(
        warned(&built(Routes::new().on_write("/a", Evict::nothing()))),
        0
    );
}
