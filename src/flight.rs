//! Request collapsing: one leader per key calls the handler, the rest wait for its response's head and
//! then read the body beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use crate::body::Fill;
use crate::entry::StoredResponse;
use crate::invalidate::Position;
use crate::key::{Key, KeyHasher, KeyRef};
use crate::status::Outcome;

/// For how long a key whose response could not be shared is remembered. Requests for it go alone
/// meanwhile, so that nobody waits in line for a response that is not for them.
const UNCACHEABLE: Duration = Duration::from_secs(10);

/// How many such keys are remembered.
const MOST_UNCACHEABLE: usize = 4096;

/// The handler calls under way, by key.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    running: HashMap<Key, Arc<Flight>, KeyHasher>,
    uncacheable: HashMap<Key, Instant, KeyHasher>,
}

/// One handler call that others may wait for.
#[derive(Debug)]
pub(crate) struct Flight {
    /// The log's position before the handler was called.
    pub(crate) position: Position,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
enum State {
    Calling,
    Landed(Landing),
    Freed(Freed),
}

/// What a flight brought.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    /// A response whose body is being read and may be read along.
    Streaming(Arc<Streaming>),
    /// A stored response: confirmed by a validation, served in place of an error, or found when the
    /// leader looked once more.
    Stored(Arc<Landed>),
}

/// A stored response, with what is needed to tell whom it is for.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) stored: Arc<StoredResponse>,
    /// The fields that select it, and the request it was selected by.
    pub(crate) nominated: Vec<HeaderName>,
    pub(crate) request: HeaderMap,
    /// How it came to be served, as those who waited are told.
    pub(crate) outcome: Outcome,
}

/// A response's head, with what is needed to tell whom it is for.
#[derive(Debug)]
pub(crate) struct Streaming {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) fill: Arc<Fill>,
    /// The fields that the response's `Vary` nominates, and the request they were answered for.
    pub(crate) nominated: Vec<HeaderName>,
    pub(crate) request: HeaderMap,
    /// The tags of the response, its handler's included.
    pub(crate) tags: Box<[Box<str>]>,
    /// When the response stops being of use to requests that come then.
    pub(crate) useful_until: Option<Instant>,
}

/// Why a flight brought nothing that others could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freed {
    /// The leader's client went away: one of the others leads.
    Abandoned,
    /// The response is for the leader alone, or there is none: the others go alone, at once.
    NotForOthers,
}

/// What a request is to do.
#[derive(Debug)]
pub(crate) enum Join {
    /// Call the handler; others will wait.
    Lead(Leader),
    /// Wait for the flight's landing.
    Wait(Arc<Flight>),
    /// Call the handler; nobody waits.
    Alone,
}

impl Flights {
    /// Joins the flight for a key if `joinable` finds nothing against it, or else starts one from
    /// the position that `position` then returns.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: KeyRef<'_>,
        now: Instant,
        position: impl FnOnce() -> Position,
        joinable: impl FnOnce(&Flight) -> bool,
    ) -> Join {
        let mut table = self.lock();
        if let Some(flight) = table.running.get(&key.to_owned()) {
            if joinable(flight) {
                return Join::Wait(flight.clone());
            }
        } else if table.remembers(key, now) {
            return Join::Alone;
        }
        let flight = Arc::new(Flight {
            position: position(),
            state: watch::Sender::new(State::Calling),
        });
        // A flight that was not joinable goes on for those who joined it in time.
        table.running.insert(key.to_owned(), flight.clone());
        Join::Lead(Leader {
            flights: self.clone(),
            key: key.to_owned(),
            flight,
        })
    }

    /// Forgets that a key's response could not be shared.
    pub(crate) fn is_cacheable(&self, key: KeyRef<'_>) {
        let mut table = self.lock();
        if !table.uncacheable.is_empty() {
            table.uncacheable.remove(&key.to_owned());
        }
    }

    /// Remembers for a short time that a key's response cannot be shared.
    pub(crate) fn is_uncacheable(&self, key: KeyRef<'_>, now: Instant) {
        let mut table = self.lock();
        if table.uncacheable.len() >= MOST_UNCACHEABLE {
            table.uncacheable.retain(|_, until| *until > now);
        }
        if table.uncacheable.len() < MOST_UNCACHEABLE {
            table.uncacheable.insert(key.to_owned(), now + UNCACHEABLE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remembers(&mut self, key: KeyRef<'_>, now: Instant) -> bool {
        if self.uncacheable.is_empty() {
            return false;
        }
        let key = key.to_owned();
        let known = self.uncacheable.get(&key).copied();
        if known.is_some_and(|until| until <= now) {
            self.uncacheable.remove(&key);
        }
        known.is_some_and(|until| until > now)
    }
}

impl Flight {
    /// Whether a request that comes now may join: `valid` judges by the tags that are known.
    pub(crate) fn is_of_use(&self, now: Instant, valid: impl FnOnce(&[Box<str>]) -> bool) -> bool {
        match &*self.state.borrow() {
            State::Landed(Landing::Streaming(streaming)) => {
                let stale = streaming.useful_until.is_some_and(|until| until <= now);
                !stale && valid(&streaming.tags)
            }
            State::Calling | State::Landed(Landing::Stored(..)) | State::Freed(_) => valid(&[]),
        }
    }

    /// Waits until the flight has landed or freed those who wait.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(crate) async fn landing(&self) -> Result<Landing, Freed> {
        let mut state = self.state.subscribe();
        // The sender lives in this very flight, so the channel cannot close while we wait.
        let state = state
            .wait_for(|state| !matches!(state, State::Calling))
            .await;
        match state.as_deref() {
            Ok(State::Landed(landing)) => Ok(landing.clone()),
            Ok(State::Freed(freed)) => Err(*freed),
            Ok(State::Calling) | Err(_) => Err(Freed::NotForOthers),
        }
    }
}

/// The right, and the duty, to end a flight. Dropped while the handler runs, it frees those who wait.
#[derive(Debug)]
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
}

impl Leader {
    /// Returns the log's position before the handler was called.
    pub(crate) fn position(&self) -> Position {
        self.flight.position
    }

    /// Gives those who wait what the call brought. The flight can be joined until the leader is
    /// dropped.
    pub(crate) fn land(&self, landing: Landing) {
        self.flight.state.send_replace(State::Landed(landing));
    }

    /// Frees those who wait: each makes its own call.
    pub(crate) fn not_for_others(&self) {
        self.flight
            .state
            .send_replace(State::Freed(Freed::NotForOthers));
    }
}

impl Drop for Leader {
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
            true => Freed::NotForOthers,
            false => Freed::Abandoned,
        };
        self.flight.state.send_if_modified(|state| {
            let calling = matches!(state, State::Calling);
            if calling {
                *state = State::Freed(freed);
            }
            calling
        });
    }
}
