//! What one node knows of the shared log, and how it keeps knowing it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::backend::{Backend, Failure, Followed, Question};
use super::batches::{Batch, Batches, Group};
use super::breaker::Breaker;
use super::entries::UnderWay;
use super::lease::Lease;
use crate::clock;
use crate::invalidate::{Epoch, Invalidation, Log, Replica, SharedPosition};
use crate::mutant::{self, Mutant};
use crate::store::{StoreHealth, StoreState};

/// An answer that speaks of an epoch which is over by now is asked for again, so often.
const TRIES: usize = 3;

/// The first probe after the breaker opened, and the longest pause between two.
const FIRST_PROBE: Duration = Duration::from_millis(20);
const BETWEEN_PROBES: Duration = Duration::from_millis(200);

/// Connections that bring nothing for so long are given up.
const BETWEEN_RECONNECTIONS: Duration = Duration::from_secs(1);

/// After an outage of this length everything from before it is given up.
const OUTAGE: Duration = Duration::from_secs(1);

/// One node of those that share a namespace.
pub(in crate::store) struct Node {
    pub(super) backend: Box<dyn Backend>,
    pub(super) namespace: Box<str>,
    pub(super) replica: Replica,
    batches: Batches,
    breaker: Breaker,
    pub(in crate::store) lease: Lease,
    /// By how many milliseconds the server's clock is ahead of ours.
    ahead_ms: AtomicI64,
    /// How many microseconds the latest question took; zero before the first.
    latency_us: AtomicU64,
    epoch_names: EpochNames,
    pub(super) runtime: Handle,
    up: Notify,
    pub(super) under_way: UnderWay,
    pub(super) counts: Counts,
}

/// What a node has met with.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) outages: AtomicU64,
    pub(super) epochs: AtomicU64,
    pub(super) unfit: AtomicU64,
    pub(super) left_out: AtomicU64,
    pub(super) unacknowledged: AtomicU64,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64) {
        // Relaxed: a count, which orders nothing.
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Node {
    /// Makes a node, which asks for Redis in the background until it is there.
    pub(super) fn start(
        backend: Box<dyn Backend>,
        namespace: &str,
        log: Log,
        runtime: Handle,
    ) -> Arc<Self> {
        let node = Arc::new(Self {
            backend,
            namespace: namespace.into(),
            replica: Replica::new(log),
            batches: Batches::default(),
            breaker: Breaker::new(now()),
            lease: Lease::default(),
            ahead_ms: AtomicI64::new(i64::MIN),
            latency_us: AtomicU64::new(0),
            epoch_names: EpochNames::new(),
            runtime,
            up: Notify::new(),
            under_way: UnderWay::default(),
            counts: Counts::default(),
        });
        node.runtime.spawn(probe(Arc::downgrade(&node)));
        node
    }

    pub(super) fn log(&self) -> &Log {
        self.replica.log()
    }

    /// Whether Redis is not asked, because it has failed too often.
    pub(in crate::store) fn is_down(&self) -> bool {
        self.breaker.is_open()
    }

    /// Waits until Redis has answered.
    pub(super) async fn is_up(&self) {
        loop {
            let up = self.up.notified();
            if !self.is_down() {
                return;
            }
            up.await;
        }
    }

    /// Reports how it goes. `bound` is how far this node may lag behind others.
    pub(in crate::store) fn health(&self, bound: Duration) -> StoreHealth {
        // Relaxed: figures, each for itself.
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (down, pending) = (self.is_down(), self.batches.pending());
        let (state, detail) = match (down, pending) {
            (true, _) => (StoreState::Down, Some("Redis does not answer".to_owned())),
            (false, 0) => (StoreState::Up, None),
            (false, _) => (
                StoreState::Degraded,
                Some("invalidations are being recorded".to_owned()),
            ),
        };
        let latency = count(&self.latency_us);
        StoreHealth {
            state,
            detail,
            breaker_open: down,
            epoch_changes: count(&self.counts.epochs),
            staleness_bound: bound,
            pending_invalidations: pending as u64,
            unacknowledged_invalidations: count(&self.counts.unacknowledged),
            values_refused: count(&self.counts.unfit),
            values_left_out: count(&self.counts.left_out),
            latency: (latency > 0).then(|| Duration::from_micros(latency)),
        }
    }

    /// Returns when it is, by the clocks that a lease goes by.
    pub(in crate::store) fn times() -> (Instant, SystemTime) {
        (now(), SystemTime::now())
    }

    /// Returns what the server's clock shows at a time of ours, in milliseconds; `None` before it has
    /// ever answered.
    pub(super) fn shared_ms(&self, at: Instant) -> Option<i64> {
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        (ahead != i64::MIN).then(|| ahead.saturating_add(milliseconds(at)))
    }

    /// Brings this node's log up to date with every invalidation that was recorded before the call.
    pub(in crate::store) async fn follow(self: &Arc<Self>) -> Result<(), Failure> {
        self.join(None).ended().await
    }

    /// Has this node's log brought up to date, without waiting for it.
    pub(in crate::store) fn follow_soon(self: &Arc<Self>) {
        self.join(None);
    }

    /// Records invalidations. From now on this node does not use what they match; when the round
    /// has ended well, no node does that looks from then on.
    pub(super) fn invalidate(self: &Arc<Self>, what: &[Invalidation]) -> Option<Arc<Batch>> {
        let group = Group::held(what, self.log());
        if self.is_down() {
            self.batches.give_back(VecDeque::from([group]), self.log());
            // Between the two looks the last probe may have been sent without this.
            if !self.is_down() {
                self.follow_soon();
            }
            return None;
        }
        Some(self.join(Some(group)))
    }

    fn join(self: &Arc<Self>, group: Option<Group>) -> Arc<Batch> {
        let (batch, runs) = self.batches.join(group);
        if runs {
            let node = self.clone();
            // A task of its own: those who wait may go away.
            self.runtime.spawn(async move {
                while let Some((batch, groups)) = node.batches.take() {
                    batch.end(node.ask(groups, None).await);
                }
            });
        }
        batch
    }

    /// Asks the shared log, and records `groups` in it.
    async fn ask(
        self: &Arc<Self>,
        groups: VecDeque<Group>,
        end: Option<Epoch>,
    ) -> Result<(), Failure> {
        let mut last = Failure::Refused("its log begins anew time and again".into());
        for _ in 0..TRIES {
            let known = self.replica.head();
            let sent = Self::times();
            let ask = Question {
                known,
                end,
                groups: groups.iter().map(|group| group.what.clone()).collect(),
                new_epoch: self.epoch_names.next(),
            };
            let followed = self.backend.follow(ask).await;
            // Whoever refuses this is of no use, however promptly.
            if let Err(failure @ Failure::Refused(_)) = &followed {
                self.failed(failure);
            }
            match self.noted(followed) {
                Ok(followed) if self.replica.catch_up(known, &followed.delta) => {
                    self.observe(known, &followed, sent);
                    groups.into_iter().for_each(Group::recorded);
                    return Ok(());
                }
                Ok(_) => {}
                Err(failure) => {
                    last = failure;
                    break;
                }
            }
        }
        if !groups.is_empty() {
            self.batches.give_back(groups, self.log());
            self.runtime.spawn(try_again(Arc::downgrade(self)));
        }
        Err(last)
    }

    fn observe(
        &self,
        known: Option<SharedPosition>,
        followed: &Followed,
        sent: (Instant, SystemTime),
    ) {
        // As of sending: by so much the server's clock may have been behind what it says.
        let ahead = followed.now_ms.saturating_sub(milliseconds(sent.0));
        self.ahead_ms.store(ahead, Ordering::Relaxed);
        let took = now().saturating_duration_since(sent.0).as_micros();
        let took = u64::try_from(took).unwrap_or(u64::MAX).max(1);
        self.latency_us.store(took, Ordering::Relaxed);
        self.lease.renew(match mutant::is(Mutant::LeaseFromAnswer) {
            true => Self::times(),
            false => sent,
        });
        let epoch = followed.delta.head.epoch;
        if known.is_some_and(|known| known.epoch != epoch) {
            Counts::add(&self.counts.epochs);
            tracing::info!("the log of invalidations began anew: what was stored is given up");
        }
    }

    /// Counts an operation for the breaker.
    pub(super) fn noted<T>(self: &Arc<Self>, answer: Result<T, Failure>) -> Result<T, Failure> {
        match &answer {
            Ok(_) => self.breaker.succeeded(now()),
            Err(failure @ (Failure::Timeout | Failure::Unreachable(_))) => self.failed(failure),
            // It answers: that one thing it would not do, such as to store when memory is full.
            Err(Failure::Refused(_) | Failure::NotTried) => {}
        }
        answer
    }

    fn failed(self: &Arc<Self>, failure: &Failure) {
        if self.breaker.failed(now()) {
            Counts::add(&self.counts.outages);
            tracing::warn!(%failure, "Redis fails: requests go on without it until it is back");
            self.runtime.spawn(probe(Arc::downgrade(self)));
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("backend", &self.backend)
            .field("namespace", &self.namespace)
            .field("down", &self.is_down())
            .field("pending", &self.batches.pending())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// Sends what could not be recorded once more, whether or not anybody asks for something. Once the
/// breaker is open the probes do that.
async fn try_again(node: Weak<Node>) {
    tokio::time::sleep(FIRST_PROBE).await;
    if let Some(node) = node.upgrade().filter(|node| !node.is_down()) {
        node.follow_soon();
    }
}

/// Asks for Redis until it answers, then closes the breaker.
async fn probe(node: Weak<Node>) {
    let mut pause = Duration::ZERO;
    let mut reconnected = now();
    loop {
        tokio::time::sleep(pause).await;
        let Some(node) = node.upgrade() else {
            return;
        };
        let outage = node.breaker.open_for(now()).unwrap_or_default();
        // Others may have been unable to record something before they went down, or away.
        let end = node.replica.head().filter(|_| outage >= OUTAGE);
        let first = node.replica.head().is_none();
        let groups = node.batches.take_pending();
        if node.ask(groups, end.map(|known| known.epoch)).await.is_ok() {
            node.breaker.close(now());
            // What came while this probe was under way found the breaker open, and may have no
            // successor to go with.
            if node.batches.pending() > 0 {
                node.follow_soon();
            }
            node.up.notify_waiters();
            match first {
                true => tracing::info!("connected to Redis"),
                false => tracing::info!(?outage, "Redis is back"),
            }
            // What came while this was under way went without it.
            if node.batches.pending() > 0 {
                node.follow_soon();
            }
            return;
        }
        if now().saturating_duration_since(reconnected) >= BETWEEN_RECONNECTIONS {
            reconnected = now();
            node.backend.reconnect();
        }
        pause = (pause * 2).clamp(FIRST_PROBE, BETWEEN_PROBES);
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn milliseconds(instant: Instant) -> i64 {
    let since = instant.saturating_duration_since(clock::origin());
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Names for epochs, no two of them the same: a random number of this node's, counted on from there.
/// Each question takes one along, and few use it.
#[derive(Debug)]
struct EpochNames {
    first: u128,
    taken: AtomicU64,
}

impl EpochNames {
    fn new() -> Self {
        let mut first = Epoch::default();
        if getrandom::fill(&mut first).is_err() {
            // Without the system's random numbers: a hash seeded anew at every call.
            use std::hash::{BuildHasher, RandomState};
            let (one, other) = first.split_at_mut(8);
            one.copy_from_slice(&RandomState::new().hash_one(now()).to_le_bytes());
            other.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
        }
        Self {
            first: u128::from_le_bytes(first),
            taken: AtomicU64::new(0),
        }
    }

    fn next(&self) -> Epoch {
        // Relaxed: whoever comes when, each takes another.
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        self.first.wrapping_add(u128::from(taken)).to_le_bytes()
    }
}
