//! When a write's evictions take effect and for how long, and what the handle foretells.

mod explain;
mod foretelling;
mod holds;
mod rules;
mod two_phases;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tower_response_cache::{Evict, Policy, Routes};

use crate::support::{Bench, Gate, MINUTE, Origin, TestRequest, request, respond};

/// A cache of everything under `/items`, whose writes are under these rules and wait for a gate.
struct Writes {
    bench: Bench,
    gate: Gate,
    status: Arc<AtomicU16>,
}

impl Writes {
    fn new(evict: Evict) -> Self {
        let routes = Routes::new()
            .route("/items", policy())
            .route("/items/{id}", policy().tag("item:{id}"))
            .route("/others", policy())
            .on_write("/items/{id}", evict);
        Self::with_routes(routes)
    }

    fn with_routes(routes: Routes) -> Self {
        let gate = Gate::shut();
        let status = Arc::new(AtomicU16::new(200));
        let (held, answered) = (gate.clone(), status.clone());
        let origin = Origin::new(move |request, call| {
            let (gate, status) = (held.clone(), answered.clone());
            async move {
                if request.method() != "GET" {
                    gate.wait().await;
                    return respond(status.load(Ordering::SeqCst), &[], "");
                }
                respond(200, &[], call.to_string())
            }
        });
        Self {
            bench: Bench::with_routes(routes, origin),
            gate,
            status,
        }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    async fn warm(&self) {
        for uri in ["/items", "/items/1", "/items/2", "/others"] {
            self.bench.get(uri).await;
            assert_eq!(self.x_cache(uri).await, "HIT");
        }
    }

    async fn x_cache(&self, uri: &str) -> String {
        self.bench.get(uri).await.x_cache().to_owned()
    }
}

fn policy() -> Policy {
    Policy::ttl(MINUTE).stale_while_revalidate(MINUTE)
}

fn put(uri: &str) -> TestRequest {
    request("PUT", uri, &[])
}
