//! Checking a service's own eviction rules and keys.

use std::collections::HashSet;

use http::request::Parts;
use http::{Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use super::plan::{Plan, with_parameter};
use super::probe::Probe;
use super::report::{Fault, Note, Report};

/// Checks whether a cached service ever answers with what a write has made stale, and whether one
/// request can change what another is given.
///
/// For the first it makes the plan's writes in random order, with all reads before each. After each one
/// it compares what the cache answers to every read with what the handler answers, with the cache
/// switched off for that moment ([`CacheHandle::set_bypass`](crate::CacheHandle::set_bypass)). For
/// the second it tries request fields and query parameters that handlers are known to use: where one
/// changes the handler's answer, it asks an empty cache with it, and then without it.
///
/// The writes are made for real, and the cache is emptied and switched off meanwhile: give it a
/// service of the test's own. Answers that change without a write cannot be judged, and are noted in
/// the report, as are reads and writes of which nothing was learnt.
///
/// See the [module](super#checking-a-router) for an example.
pub async fn check<S, Q, B>(app: S, plan: Plan<Q>) -> Report
where
    S: Service<Request<Q>, Response = Response<B>> + Clone,
    B: Body,
{
    let probe = Probe {
        app,
        handle: &plan.handle,
        make_body: plan.make_body,
        ignored: &plan.ignored,
    };
    let mut check = Check {
        random: Random::new(plan.seed),
        replayed: HashSet::new(),
        succeeded: HashSet::new(),
        report: Report::default(),
        probe,
        plan: &plan,
    };
    check.writes().await;
    check.inputs().await;
    check.report
}

struct Check<'a, S, Q> {
    probe: Probe<'a, S, Q>,
    plan: &'a Plan<Q>,
    random: Random,
    /// The reads, by their place in the plan, that the cache has answered at some time.
    replayed: HashSet<usize>,
    /// The writes that have succeeded at some time.
    succeeded: HashSet<usize>,
    report: Report,
}

impl<S, Q, B> Check<'_, S, Q>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone,
    B: Body,
{
    async fn writes(&mut self) {
        let plan = self.plan;
        if plan.writes.is_empty() {
            return;
        }
        self.empty().await;
        for _ in 0..plan.rounds {
            let steady = self.warm().await;
            let write = self.random.below(plan.writes.len());
            let (parts, body) = &plan.writes[write];
            if self.probe.send(parts, body.clone()).await.is_success() {
                self.succeeded.insert(write);
            }
            for read in steady {
                self.compare(read, parts).await;
            }
        }
        for (index, read) in plan.reads.iter().enumerate() {
            if !self.replayed.contains(&index) {
                self.report.note(Note::NeverStored(shown(read)));
            }
        }
        let succeeded: HashSet<String> = self
            .succeeded
            .iter()
            .map(|index| shown(&plan.writes[*index].0))
            .collect();
        for (write, _) in &plan.writes {
            let write = shown(write);
            if !succeeded.contains(&write) {
                self.report.note(Note::NeverSucceeded(write));
            }
        }
    }

    /// Has all reads stored, beginning at any of them, and returns those whose answers stay the same
    /// without a write.
    async fn warm(&mut self) -> Vec<usize> {
        let mut steady = Vec::new();
        let count = self.plan.reads.len();
        let first = self.random.below(count);
        for index in (first..count).chain(0..first) {
            let read = &self.plan.reads[index];
            self.probe.cached(read).await;
            let cached = self.probe.cached(read).await;
            let first = self.probe.bypassed(read).await;
            if cached.is_replay() {
                self.replayed.insert(index);
            }
            if first.says_the_same(&cached) && first.says_the_same(&self.probe.bypassed(read).await)
            {
                steady.push(index);
            } else {
                self.report.note(Note::Unsteady(shown(read)));
            }
        }
        steady
    }

    async fn compare(&mut self, read: usize, write: &Parts) {
        let read = &self.plan.reads[read];
        let cached = self.probe.cached(read).await;
        let actual = self.probe.bypassed(read).await;
        if cached.says_the_same(&actual) {
            return;
        }
        if !actual.says_the_same(&self.probe.bypassed(read).await) {
            self.report.note(Note::Unsteady(shown(read)));
            return;
        }
        self.report.fault(Fault::Stale {
            read: shown(read),
            write: shown(write),
        });
        // So that it is not laid to the next write as well.
        self.empty().await;
    }

    async fn inputs(&mut self) {
        let plan = self.plan;
        for read in &plan.reads {
            for (name, value) in &plan.fields {
                let mut tainted = read.clone();
                tainted.headers.insert(name, value.clone());
                self.input(read, &tainted, || canonical_case(name.as_str()))
                    .await;
            }
            for parameter in &plan.parameters {
                let Some(uri) = with_parameter(&read.uri, parameter) else {
                    continue;
                };
                let mut tainted = read.clone();
                tainted.uri = uri;
                self.input(read, &tainted, || format!("the query's {parameter}"))
                    .await;
            }
        }
        self.empty().await;
    }

    /// Tries whether the answer to `tainted` is given to `plain`.
    async fn input(&mut self, plain: &Parts, tainted: &Parts, name: impl FnOnce() -> String) {
        let actual = self.probe.bypassed(plain).await;
        if actual.says_the_same(&self.probe.bypassed(tainted).await) {
            return;
        }
        if !actual.says_the_same(&self.probe.bypassed(plain).await) {
            self.report.note(Note::Unsteady(shown(plain)));
            return;
        }
        self.empty().await;
        self.probe.cached(tainted).await;
        let cached = self.probe.cached(plain).await;
        if cached.is_replay() && !actual.says_the_same(&cached) {
            self.report.fault(Fault::Unkeyed {
                input: name(),
                uri: path_and_query(&plain.uri).to_owned(),
            });
        }
    }

    async fn empty(&self) {
        // Where the store could not record it, the next comparison shows what came of that.
        let _ = self.plan.handle.invalidate_all().await;
    }
}

fn shown(request: &Parts) -> String {
    format!("{} {}", request.method, path_and_query(&request.uri))
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// Writes a field's name as people do: `X-Forwarded-Host`.
fn canonical_case(name: &str) -> String {
    let capitalized = name.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    capitalized.collect::<Vec<_>>().join("-")
}

/// A stream of numbers that is the same for the same seed (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        number as usize % bound.max(1)
    }
}
