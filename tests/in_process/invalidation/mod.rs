//! Never older than an acknowledged write.

mod by_hand;
mod races;
mod rules;
mod shared_keys;
mod slow_store;
mod spellings;
mod unfinished_writes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::task::JoinHandle;
use tower_response_cache::{Policy, Routes};

use crate::support::{
    Answer, Bench, BoxError, Gate, MINUTE, Origin, TestBody, TestRequest, request, respond,
    respond_with,
};

/// What is behind the cache: a version for each path, which every write raises by one.
///
/// Requests say how they are to be answered:
/// `x-gate: NAME` waits for that gate after the data was read or written;
/// `x-body-gate: NAME` sends the head and then waits;
/// `x-status: CODE` answers with that status;
/// `x-field: NAME: VALUE` adds that field.
#[derive(Clone, Default)]
struct Data {
    versions: Arc<Mutex<HashMap<String, u64>>>,
    gates: Arc<Mutex<HashMap<String, Gate>>>,
    /// Fields of every answer to a GET.
    fields: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
    etags: bool,
}

impl Data {
    fn with_fields(fields: &[(&'static str, &'static str)]) -> Self {
        let data = Self::default();
        *data.fields.lock().unwrap() = fields.to_vec();
        data
    }

    fn with_etags() -> Self {
        Self {
            etags: true,
            ..Self::default()
        }
    }

    fn gate(&self, name: &str) -> Gate {
        let mut gates = self.gates.lock().unwrap();
        gates
            .entry(name.to_owned())
            .or_insert_with(Gate::shut)
            .clone()
    }

    fn version(&self, path: &str) -> u64 {
        self.versions
            .lock()
            .unwrap()
            .get(path)
            .copied()
            .unwrap_or(0)
    }

    fn write(&self, path: &str) -> u64 {
        let mut versions = self.versions.lock().unwrap();
        let version = versions.entry(path.to_owned()).or_default();
        *version += 1;
        *version
    }

    async fn answer(self, request: TestRequest) -> Response<TestBody> {
        let path = request.uri().path().to_owned();
        let asked = |name| {
            let value = request.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let reads = ["GET", "HEAD"].contains(&request.method().as_str());
        let version = match reads {
            true => self.version(&path),
            false => self.write(&path),
        };
        let text = version.to_string();
        let etag = format!("\"{text}\"");
        let mut status = asked("x-status").map_or(200, |status| status.parse().unwrap());
        if self.etags && asked("if-none-match").is_some_and(|known| known.contains(&etag)) {
            status = 304;
        }
        if let Some(gate) = asked("x-gate") {
            self.gate(&gate).wait().await;
        }
        let mut fields = match reads {
            true => self.fields.lock().unwrap().clone(),
            false => Vec::new(),
        };
        if self.etags {
            fields.push(("etag", &etag));
        }
        let field = asked("x-field");
        fields.extend(field.iter().filter_map(|field| field.split_once(": ")));
        let Some(gate) = asked("x-body-gate") else {
            return respond(
                status,
                &fields,
                if status == 304 { "".into() } else { text },
            );
        };
        let gate = self.gate(&gate);
        let frames = stream::once(async move {
            gate.wait().await;
            Ok::<_, BoxError>(Frame::data(text.into()))
        });
        respond_with(status, &fields, StreamBody::new(frames).boxed_unsync())
    }

    fn origin(&self) -> Origin {
        let data = self.clone();
        Origin::new(move |request, _| data.clone().answer(request))
    }

    fn bench(&self, policy: Policy) -> Bench {
        Bench::new(policy, self.origin())
    }

    fn bench_with(&self, routes: Routes) -> Bench {
        Bench::with_routes(routes, self.origin())
    }
}

fn policy() -> Policy {
    Policy::ttl(MINUTE)
}

fn get(uri: &str) -> TestRequest {
    request("GET", uri, &[])
}

fn put(uri: &str) -> TestRequest {
    request("PUT", uri, &[])
}

async fn text(task: JoinHandle<Answer>) -> String {
    task.await.unwrap().text().to_owned()
}

/// Fills the cache for these and sees that they are hits.
async fn warm(bench: &Bench, uris: &[&str]) {
    for uri in uris {
        bench.get(uri).await;
        assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{uri}");
    }
}

async fn assert_hits(bench: &Bench, uris: &[&str], what: &str) {
    for uri in uris {
        assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{what}: {uri}");
    }
}

async fn assert_evicted(bench: &Bench, uris: &[&str], what: &str) {
    for uri in uris {
        assert_eq!(bench.get(uri).await.x_cache(), "MISS", "{what}: {uri}");
    }
}

async fn warm_again(bench: &Bench, uris: &[&str]) {
    bench.handle.invalidate_all().await.unwrap();
    warm(bench, uris).await;
}
