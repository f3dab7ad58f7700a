//! This node's copy of the shared log, and how it is kept in step.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::backend::{Backend, Followed, Question, RedisFailure};
use super::batches::{Batch, Batches, PendingGroup};
use super::breaker::Breaker;
use super::clocks::{ClockReading, ServerClock, now};
use super::epoch_names::EpochNames;
use super::lease::Lease;
use super::replica::{Epoch, Replica, SharedPosition};
use crate::error::Error;
use crate::invalidate::{Invalidation, Log};
use crate::store::{MaybeReady, SharedLog, StoreHealth, StoreState};

/// How often a question is asked again whose answer speaks of an epoch that is over by now.
const TRIES: usize = 3;

/// The first probe after the breaker opened, and the longest pause between two.
const FIRST_PROBE: Duration = Duration::from_millis(20);
const BETWEEN_PROBES: Duration = Duration::from_millis(200);

/// Connections that bring nothing for this long are replaced.
const BETWEEN_RECONNECTIONS: Duration = Duration::from_secs(1);

/// After an outage of this length everything stored before it is dropped.
const OUTAGE: Duration = Duration::from_secs(1);

/// A node that follows the shared log of its namespace.
///
/// It asks the log in [batches](Batches), whose answers go into its [`Replica`] and renew its
/// [`Lease`]. Its [`Breaker`] says when Redis is not asked at all; every operation of this node
/// counts for it.
pub(in crate::store) struct Follower {
    backend: Arc<dyn Backend>,
    replica: Replica,
    batches: Batches,
    breaker: Breaker,
    lease: Lease,
    server_clock: ServerClock,
    /// How many microseconds the latest question took; zero before the first.
    latency_us: AtomicU64,
    epoch_names: EpochNames,
    /// How long a recorded invalidation waits for the leases of other nodes to end.
    ack_delay: Duration,
    runtime: Handle,
    up: Notify,
    counts: FollowerCounts,
}

/// How often things happened to a node.
#[derive(Debug, Default)]
struct FollowerCounts {
    outages: AtomicU64,
    epochs: AtomicU64,
    unacknowledged: AtomicU64,
}

impl Follower {
    /// Makes a follower, which asks for Redis in the background until it answers.
    pub(super) fn start(
        backend: Arc<dyn Backend>,
        log: Log,
        ack_delay: Duration,
        runtime: Handle,
    ) -> Arc<Self> {
        let follower = Arc::new(Self {
            backend,
            replica: Replica::new(log),
            batches: Batches::default(),
            breaker: Breaker::new(now()),
            lease: Lease::default(),
            server_clock: ServerClock::new(),
            latency_us: AtomicU64::new(0),
            epoch_names: EpochNames::new(),
            ack_delay,
            runtime,
            up: Notify::new(),
            counts: FollowerCounts::default(),
        });
        follower.runtime.spawn(probe(Arc::downgrade(&follower)));
        follower
    }

    pub(super) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(in crate::store) fn log(&self) -> &Log {
        self.replica.log()
    }

    pub(in crate::store) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(super) fn server_clock(&self) -> &ServerClock {
        &self.server_clock
    }

    /// Returns whether Redis is not asked, because it has failed too often.
    pub(in crate::store) fn is_down(&self) -> bool {
        self.breaker.is_open()
    }

    /// Fails while Redis is not asked.
    pub(super) fn check(&self) -> Result<(), RedisFailure> {
        match self.is_down() {
            true => Err(RedisFailure::NotTried),
            false => Ok(()),
        }
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
    pub(super) fn health(&self, bound: Duration) -> StoreHealth {
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
            latency: (latency > 0).then(|| Duration::from_micros(latency)),
            ..StoreHealth::default()
        }
    }

    /// Returns how often the breaker has opened.
    #[cfg(test)]
    pub(super) fn outages(&self) -> u64 {
        self.counts.outages.load(Ordering::Relaxed)
    }

    /// Brings this node's log up to date with every invalidation that was recorded before the call.
    pub(in crate::store) async fn follow(self: &Arc<Self>) -> Result<(), RedisFailure> {
        self.join(None).ended().await
    }

    /// Has this node's log brought up to date, without waiting for it.
    pub(in crate::store) fn follow_soon(self: &Arc<Self>) {
        self.join(None);
    }

    /// Records invalidations. From now on this node does not use what they match. When the batch
    /// has ended well, no node does that looks from then on. `None` while Redis is down.
    pub(super) fn record(self: &Arc<Self>, what: &[Invalidation]) -> Option<Arc<Batch>> {
        let group = PendingGroup::held(what, self.log());
        if self.is_down() {
            self.batches.put_back(VecDeque::from([group]), self.log());
            // Between the two looks the last probe may have been sent without this.
            if !self.is_down() {
                self.follow_soon();
            }
            return None;
        }
        Some(self.join(Some(group)))
    }

    fn join(self: &Arc<Self>, group: Option<PendingGroup>) -> Arc<Batch> {
        let (batch, runs) = self.batches.join(group);
        if runs {
            let follower = self.clone();
            // A task of its own: those who wait may go away.
            self.runtime.spawn(async move {
                while let Some((batch, groups)) = follower.batches.take() {
                    batch.end(follower.ask(groups, None).await);
                }
            });
        }
        batch
    }

    /// Asks the shared log, and records `groups` in it.
    async fn ask(
        self: &Arc<Self>,
        groups: VecDeque<PendingGroup>,
        end: Option<Epoch>,
    ) -> Result<(), RedisFailure> {
        let mut last = RedisFailure::Refused("its log begins anew time and again".into());
        for _ in 0..TRIES {
            let known = self.replica.head();
            let sent = ClockReading::now();
            let question = Question {
                known,
                end,
                groups: groups.iter().map(|group| group.what.clone()).collect(),
                new_epoch: self.epoch_names.next(),
            };
            let followed = self.backend.follow(question).await;
            // A server that refuses this is of no use, however promptly it answers.
            if let Err(failure @ RedisFailure::Refused(_)) = &followed {
                self.failed(failure);
            }
            match self.noted(followed) {
                Ok(followed) if self.replica.catch_up(known, &followed.delta) => {
                    self.observe(known, &followed, sent);
                    groups.into_iter().for_each(PendingGroup::recorded);
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
            self.batches.put_back(groups, self.log());
            self.runtime.spawn(try_again(Arc::downgrade(self)));
        }
        Err(last)
    }

    /// Takes in what an answer says besides invalidations.
    fn observe(&self, known: Option<SharedPosition>, followed: &Followed, sent: ClockReading) {
        self.server_clock.set(followed.now_ms, sent.monotonic);
        let took = now().saturating_duration_since(sent.monotonic).as_micros();
        let took = u64::try_from(took).unwrap_or(u64::MAX).max(1);
        self.latency_us.store(took, Ordering::Relaxed);
        self.lease.renew(sent);
        let epoch = followed.delta.head.epoch;
        if known.is_some_and(|known| known.epoch != epoch) {
            self.counts.epochs.fetch_add(1, Ordering::Relaxed);
            tracing::info!("the log of invalidations began anew: everything stored is dropped");
        }
    }

    /// Counts the answer of an operation for the breaker.
    pub(super) fn noted<T>(
        self: &Arc<Self>,
        answer: Result<T, RedisFailure>,
    ) -> Result<T, RedisFailure> {
        match &answer {
            Ok(_) => self.breaker.succeeded(now()),
            Err(failure @ (RedisFailure::Timeout | RedisFailure::Unreachable(_))) => {
                self.failed(failure);
            }
            // It answers, and refuses this one operation, such as a put when memory is full.
            Err(RedisFailure::Refused(_) | RedisFailure::NotTried) => {}
        }
        answer
    }

    /// Asks once while the breaker is open. Closes it and returns `true` if Redis answers.
    async fn comes_back(self: &Arc<Self>) -> bool {
        let outage = self.breaker.open_for(now()).unwrap_or_default();
        let known = self.replica.head();
        // Others may have been unable to record something before they went down, or away.
        let end = known.filter(|_| outage >= OUTAGE);
        let groups = self.batches.take_pending();
        if self
            .ask(groups, end.map(|known| known.epoch))
            .await
            .is_err()
        {
            return false;
        }
        self.breaker.close(now());
        // What came while this probe was under way found the breaker open, and may have no
        // successor to go with.
        if self.batches.pending() > 0 {
            self.follow_soon();
        }
        self.up.notify_waiters();
        match known {
            None => tracing::info!("connected to Redis"),
            Some(_) => tracing::info!(?outage, "Redis is back"),
        }
        true
    }

    fn failed(self: &Arc<Self>, failure: &RedisFailure) {
        if self.breaker.failed(now()) {
            self.counts.outages.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%failure, "Redis fails: requests go on without it until it is back");
            self.runtime.spawn(probe(Arc::downgrade(self)));
        }
    }

    fn unacknowledged(&self, failure: RedisFailure) -> Error {
        self.counts.unacknowledged.fetch_add(1, Ordering::Relaxed);
        failure.into()
    }
}

impl SharedLog for Arc<Follower> {
    /// Records invalidations in the log that all nodes share: one round trip, however many there
    /// are, and shared with every other question to the log at the same time.
    ///
    /// Invalidations that cannot be recorded now are recorded before anything else when Redis is back.
    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        let Some(batch) = self.record(invalidations) else {
            return MaybeReady::Now(Err(self.unacknowledged(RedisFailure::NotTried)));
        };
        let follower = self.clone();
        MaybeReady::Later(Box::pin(async move {
            let ended = batch.ended().await;
            ended.map_err(|failure| follower.unacknowledged(failure))?;
            if !follower.ack_delay.is_zero() {
                tokio::time::sleep(follower.ack_delay).await;
            }
            Ok(())
        }))
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        if let Err(failure) = self.check() {
            return MaybeReady::Now(Err(failure.into()));
        }
        let follower = self.clone();
        MaybeReady::Later(Box::pin(async move { Ok(follower.follow().await?) }))
    }

    fn ack_delay(&self) -> Duration {
        self.ack_delay
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("backend", &self.backend)
            .field("down", &self.is_down())
            .field("pending", &self.batches.pending())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// Sends what could not be recorded once more, though nobody asks for anything. Once the breaker is
/// open the probes do that.
async fn try_again(follower: Weak<Follower>) {
    tokio::time::sleep(FIRST_PROBE).await;
    if let Some(follower) = follower.upgrade().filter(|follower| !follower.is_down()) {
        follower.follow_soon();
    }
}

/// Asks for Redis until it answers, then closes the breaker.
async fn probe(follower: Weak<Follower>) {
    let mut pause = Duration::ZERO;
    let mut reconnected = now();
    loop {
        tokio::time::sleep(pause).await;
        let Some(follower) = follower.upgrade() else {
            return;
        };
        if follower.comes_back().await {
            return;
        }
        if now().saturating_duration_since(reconnected) >= BETWEEN_RECONNECTIONS {
            reconnected = now();
            follower.backend.reconnect();
        }
        pause = (pause * 2).clamp(FIRST_PROBE, BETWEEN_PROBES);
    }
}
