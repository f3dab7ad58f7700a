//! Request collapsing (coalescing, single-flight): one leader per key makes the call; the rest wait
//! for its result: the response's head, and then read the body beside it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

use crate::body::Fill;
use crate::entry::{PackedFields, StoredResponse};
use crate::invalidate::Position;
use crate::key::{Key, KeyHasher};
use crate::opaque::{ClientHeaders, Opaque};
use crate::status::Outcome;
use crate::store::GrantedLease;
use crate::sync::{Mutex, MutexGuard};

/// For how long a key whose response could not be shared is remembered. Requests for it go alone
/// meanwhile, so that nobody waits in line for a response that is not for them.
const UNCACHEABLE: Duration = Duration::from_secs(10);

/// The most such keys that are remembered.
const MOST_UNCACHEABLE: usize = 4096;

const BETWEEN_PURGES: Duration = Duration::from_secs(1);

/// The fetches under way, by key. `L` is the result of one.
#[derive(Debug)]
pub(crate) struct Flights<L = FlightResult>(Mutex<Table<L>>);

#[derive(Debug)]
struct Table<L> {
    running: HashMap<Key, Arc<Flight<L>>, KeyHasher>,
    /// Until when, by the keys' hashes: a key may be as long as a request's head. Two keys of one
    /// hash cost each other the sharing, for as long as one of them is remembered.
    uncacheable: HashMap<u64, Instant, KeyHasher>,
    /// When to look again which of them can be forgotten, if there is no more room.
    next_purge: Option<Instant>,
}

/// One fetch that others may wait for.
#[derive(Debug)]
pub(crate) struct Flight<L = FlightResult> {
    /// The log's position before the inner service was called.
    pub(crate) position: Position,
    /// Before the inner service was called.
    pub(crate) began: Instant,
    /// The same moment, by the clock that waits go by.
    since: tokio::time::Instant,
    /// Set once, before those who wait are notified.
    end: OnceLock<End<L>>,
    ended: Notify,
}

/// The end of a flight.
pub(crate) type End<L = FlightResult> = Result<L, NoResult>;

/// The result of a flight.
#[derive(Clone, Debug)]
pub(crate) enum FlightResult {
    /// A response whose body is being read and may be read along.
    Streaming(Arc<StreamingResult>),
    /// A stored response: confirmed by a validation, served in place of an error, or found when the
    /// leader looked once more.
    Stored(Arc<StoredResult>),
}

/// A stored response, and the facts that decide whom it is for.
#[derive(Debug)]
pub(crate) struct StoredResult {
    pub(crate) stored: Arc<StoredResponse>,
    /// The fields that select it, and the request it was selected by.
    pub(crate) nominated: Vec<HeaderName>,
    pub(crate) request: ClientHeaders,
    /// Its outcome, as reported to those who waited.
    pub(crate) outcome: Outcome,
}

/// A response's head, and the facts that decide whom it is for.
#[derive(Debug)]
pub(crate) struct StreamingResult {
    pub(crate) status: StatusCode,
    pub(crate) fields: PackedFields,
    /// The same, made when the first asks for it: most flights nobody joins.
    pub(crate) headers: OnceLock<Opaque<HeaderMap>>,
    /// The response's age when it was received, and when that was.
    pub(crate) aged: (Duration, Instant),
    pub(crate) fill: Arc<Fill>,
    /// The fields that the response's `Vary` nominates, and the request they were answered for.
    pub(crate) nominated: Vec<HeaderName>,
    pub(crate) request: ClientHeaders,
    /// The tags of the response, its handler's included.
    pub(crate) tags: Box<[Box<str>]>,
    /// When the response stops being of use to requests that come then.
    pub(crate) servable_until: Option<Instant>,
}

/// Why a flight brought nothing that others could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoResult {
    /// The leader's client went away: one of the others leads.
    Abandoned,
    /// The response is for the leader alone, or there is none: the others go alone, at once.
    NotForOthers,
}

/// The part of one caller in a flight.
#[derive(Debug)]
pub(crate) enum Join<L: Clone = FlightResult> {
    /// Makes the call; others will wait.
    Lead(Leader<L>),
    /// Waits for the flight's result.
    Wait(Arc<Flight<L>>),
    /// Makes the call; nobody waits.
    Alone,
}

/// A caller that may share a call with others: how it judges flights, and what it takes from them.
pub(crate) trait Sharer<R: Clone> {
    /// The caller's answer, made of a flight's result.
    type Answer;
    /// Held while the caller waits.
    type Waiting;

    fn now(&self) -> Instant;

    /// Returns the log's position now.
    fn position(&self) -> Position;

    /// Returns whether this caller may be given what a flight brings, as far as that is known.
    fn may_join(&self, flight: &Flight<R>) -> bool;

    /// Prepares to wait.
    fn wait(&mut self) -> Self::Waiting;

    /// Takes a flight's result, if it is for this caller.
    fn take(&self, flight: &Flight<R>, result: R) -> Taken<Self::Answer>;
}

/// A flight's result, as one of those who waited takes it.
pub(crate) enum Taken<A> {
    Answer(A),
    /// It was overtaken by an invalidation: look for another flight.
    Again,
    /// It is not for this caller, who makes its own call.
    Alone,
}

/// The outcome of [`join_or_lead`].
pub(crate) enum Shared<A, R: Clone = FlightResult> {
    /// From another caller's flight.
    Answer(A),
    /// Make the call; others may wait for it.
    Lead(Leader<R>),
    /// Make the call; nobody waits.
    Alone,
}

/// The times that a caller is let down before it goes alone: each time a flight that it had joined
/// was overtaken by an invalidation or left by its leader.
const TURNS: usize = 4;

/// Joins the flight for a key, and takes what it brings, or leads a new one.
///
/// A flight without a result is overdue `max_wait` after its beginning. Nobody joins it then, and
/// one of those who wait leads the next: the others wait for whichever ends first. So a flight that
/// hangs delays nobody who comes later, and a slow inner service gets one call more every
/// `max_wait`, not a herd of them.
///
/// # Cancel safety
///
/// May be dropped at any time.
pub(crate) async fn join_or_lead<R: Clone, S: Sharer<R>>(
    flights: &Arc<Flights<R>>,
    key: &Key,
    max_wait: Duration,
    sharer: &mut S,
) -> Shared<S::Answer, R> {
    let mut overdue: Vec<Arc<Flight<R>>> = Vec::new();
    let mut waiting = None;
    let mut turns = 0;
    while turns < TURNS {
        let now = sharer.now();
        let joinable = |flight: &Flight<R>| !flight.is_overdue(max_wait) && sharer.may_join(flight);
        let flight = match flights.join(key, now, || sharer.position(), joinable) {
            Join::Lead(leader) => return Shared::Lead(leader),
            Join::Wait(flight) => flight,
            Join::Alone => break,
        };
        waiting.get_or_insert_with(|| sharer.wait());
        let until = flight.overdue_at(max_wait);
        let Some((flight, end)) = first_to_end(&overdue, &flight, until).await else {
            overdue.push(flight);
            continue;
        };
        overdue.retain(|overdue| !Arc::ptr_eq(overdue, &flight));
        turns += 1;
        let taken = match end {
            Ok(result) => sharer.take(&flight, result),
            Err(NoResult::Abandoned) => Taken::Again,
            Err(NoResult::NotForOthers) => Taken::Alone,
        };
        match taken {
            Taken::Answer(answer) => return Shared::Answer(answer),
            Taken::Again => {}
            Taken::Alone => break,
        }
    }
    Shared::Alone
}

/// Waits for the end of a flight, or of one of those that are overdue, for no longer than `until`.
async fn first_to_end<R: Clone>(
    overdue: &[Arc<Flight<R>>],
    flight: &Arc<Flight<R>>,
    until: Option<tokio::time::Instant>,
) -> Option<(Arc<Flight<R>>, End<R>)> {
    let first = async {
        if overdue.is_empty() {
            return (flight.clone(), flight.result().await);
        }
        let all = || overdue.iter().chain([flight]);
        let ends = all().map(|flight| Box::pin(flight.result()));
        let (end, first, _) = futures_util::future::select_all(ends).await;
        let flight = all().nth(first).unwrap_or(flight);
        (flight.clone(), end)
    };
    match until {
        Some(until) => tokio::time::timeout_at(until, first).await.ok(),
        None => Some(first.await),
    }
}

impl<L> Default for Flights<L> {
    fn default() -> Self {
        Self(Mutex::new(Table {
            running: HashMap::default(),
            uncacheable: HashMap::default(),
            next_purge: None,
        }))
    }
}

impl<L: Clone> Flights<L> {
    /// Joins the flight for a key if `joinable` finds nothing against it, or else starts one from
    /// the position that `position` then returns.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &Key,
        now: Instant,
        position: impl FnOnce() -> Position,
        joinable: impl FnOnce(&Flight<L>) -> bool,
    ) -> Join<L> {
        let mut table = self.lock();
        if let Some(flight) = table.running.get(key) {
            if joinable(flight) {
                return Join::Wait(flight.clone());
            }
        } else if table.remembers(key, now) {
            return Join::Alone;
        }
        // A flight that was not joinable goes on for those who joined it in time.
        let flight = table.begin(key, position(), now);
        Join::Lead(self.led(key, flight))
    }

    fn led(self: &Arc<Self>, key: &Key, flight: Arc<Flight<L>>) -> Leader<L> {
        Leader {
            flights: self.clone(),
            key: key.clone(),
            flight,
            lease: OnceLock::new(),
        }
    }

    /// Forgets that a key's response could not be shared.
    pub(crate) fn is_cacheable(&self, key: &Key) {
        let mut table = self.lock();
        if !table.uncacheable.is_empty() {
            table.uncacheable.remove(&key.borrow().hash64());
        }
    }

    /// Remembers for a short time that a key's response cannot be shared.
    pub(crate) fn is_uncacheable(&self, key: &Key, now: Instant) {
        let mut table = self.lock();
        table.make_room(now);
        if table.uncacheable.len() < MOST_UNCACHEABLE {
            let hash = key.borrow().hash64();
            table.uncacheable.insert(hash, now + UNCACHEABLE);
        }
    }
}

/// For calls whose end is recorded while the flight can still be overtaken.
#[cfg(feature = "values")]
impl<L: Clone> Flights<L> {
    /// Starts a flight from the position that `position` returns, whether or not one is under way.
    pub(crate) fn lead(
        self: &Arc<Self>,
        key: &Key,
        now: Instant,
        position: impl FnOnce() -> Position,
    ) -> Leader<L> {
        let mut table = self.lock();
        let flight = table.begin(key, position(), now);
        self.led(key, flight)
    }

    /// Keeps the flight for a key from being joined any more, and from [recording](Leader::record)
    /// what it brings.
    pub(crate) fn overtake(&self, key: &Key) {
        let mut table = self.lock();
        if !table.running.is_empty() {
            table.running.remove(key);
        }
    }
}

impl<L> Flights<L> {
    fn lock(&self) -> MutexGuard<'_, Table<L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Table<L> {
    fn begin(&mut self, key: &Key, position: Position, now: Instant) -> Arc<Flight<L>> {
        let flight = Arc::new(Flight {
            position,
            began: now,
            since: tokio::time::Instant::now(),
            end: OnceLock::new(),
            ended: Notify::new(),
        });
        self.running.insert(key.clone(), flight.clone());
        flight
    }

    /// Forgets what is past its time, at most once a second: with a flood of keys there would be
    /// nothing to forget, and all of them to look at, for each.
    fn make_room(&mut self, now: Instant) {
        let full = self.uncacheable.len() >= MOST_UNCACHEABLE;
        if full && self.next_purge.is_none_or(|next| next <= now) {
            self.uncacheable.retain(|_, until| *until > now);
            self.next_purge = Some(now + BETWEEN_PURGES);
        }
    }

    fn remembers(&mut self, key: &Key, now: Instant) -> bool {
        if self.uncacheable.is_empty() {
            return false;
        }
        let hash = key.borrow().hash64();
        let known = self.uncacheable.get(&hash).copied();
        if known.is_some_and(|until| until <= now) {
            self.uncacheable.remove(&hash);
        }
        known.is_some_and(|until| until > now)
    }
}

impl StreamingResult {
    /// Returns the headers for one that reads along.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.headers
            .get_or_init(|| Opaque(self.fields.head().to_map(0)))
    }
}

impl Flight {
    /// Returns whether a request that comes now may join: `valid` judges by the tags that are
    /// known.
    pub(crate) fn is_of_use(&self, now: Instant, valid: impl FnOnce(&[Box<str>]) -> bool) -> bool {
        match self.end.get() {
            Some(Ok(FlightResult::Streaming(streaming))) => {
                let stale = streaming.servable_until.is_some_and(|until| until <= now);
                !stale && valid(&streaming.tags)
            }
            Some(Ok(FlightResult::Stored(..)) | Err(_)) | None => valid(&[]),
        }
    }
}

impl<L: Clone> Flight<L> {
    /// Returns what the flight brought, if it has landed.
    #[cfg(feature = "values")]
    pub(crate) fn published(&self) -> Option<&L> {
        self.end.get()?.as_ref().ok()
    }

    /// Returns when the flight is overdue that has no result; `None` for never.
    fn overdue_at(&self, max_wait: Duration) -> Option<tokio::time::Instant> {
        self.since.checked_add(max_wait)
    }

    fn is_overdue(&self, max_wait: Duration) -> bool {
        let now = tokio::time::Instant::now();
        self.end.get().is_none() && self.overdue_at(max_wait).is_some_and(|at| at <= now)
    }

    /// Waits until the flight has landed or freed those who wait.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(crate) async fn result(&self) -> End<L> {
        // Before the look at the end: a notification in between is not missed.
        let ended = self.ended.notified();
        if self.end.get().is_none() {
            ended.await;
        }
        match self.end.get() {
            Some(end) => end.clone(),
            // Nobody is notified before the end is set.
            None => Err(NoResult::NotForOthers),
        }
    }

    /// Ends the flight, unless that has been done.
    fn end(&self, end: End<L>) {
        if self.end.set(end).is_ok() {
            self.ended.notify_waiters();
        }
    }
}

/// The right, and the duty, to end a flight. Dropped while the inner service runs, it frees those
/// who wait.
#[derive(Debug)]
pub(crate) struct Leader<L: Clone = FlightResult> {
    flights: Arc<Flights<L>>,
    key: Key,
    flight: Arc<Flight<L>>,
    /// To call the inner service on behalf of other nodes.
    lease: OnceLock<Box<dyn GrantedLease>>,
}

impl<L: Clone> Leader<L> {
    /// Returns the key of what the call brings.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the log's position before the inner service was called.
    pub(crate) fn position(&self) -> Position {
        self.flight.position
    }

    /// Returns whether those who wait have waited for as long as they may.
    pub(crate) fn is_overdue(&self, max_wait: Duration) -> bool {
        self.flight.is_overdue(max_wait)
    }

    /// Gives those who wait what the call brought. The flight can be joined until the leader is
    /// dropped.
    pub(crate) fn publish(&self, result: L) {
        self.flight.end(Ok(result));
    }

    /// Keeps the lease to call the inner service on behalf of other nodes until the flight is over.
    pub(crate) fn holds(&self, lease: Box<dyn GrantedLease>) {
        // There is one claim for each flight.
        let _ = self.lease.set(lease);
    }

    /// Frees those who wait: each makes its own call.
    pub(crate) fn not_for_others(&self) {
        if let Some(lease) = self.lease.get() {
            lease.not_for_others();
        }
        self.flight.end(Err(NoResult::NotForOthers));
    }
}

#[cfg(feature = "values")]
impl<L: Clone> Leader<L> {
    /// Records what the call brought, unless the flight was overtaken, and lets none overtake it
    /// meanwhile: what comes later is recorded later.
    pub(crate) fn record<R>(&self, record: impl FnOnce() -> R) -> Option<R> {
        let table = self.flights.lock();
        let running = table.running.get(&self.key);
        let is_running = running.is_some_and(|running| Arc::ptr_eq(running, &self.flight));
        is_running.then(record)
    }
}

impl<L: Clone> Drop for Leader<L> {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        if table
            .running
            .get(&self.key)
            .is_some_and(|running| Arc::ptr_eq(running, &self.flight))
        {
            table.running.remove(&self.key);
        }
        drop(table);
        let freed = match std::thread::panicking() {
            true => NoResult::NotForOthers,
            false => NoResult::Abandoned,
        };
        // Of no effect where the call has come to an end.
        self.flight.end(Err(freed));
    }
}
