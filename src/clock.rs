//! The only place that reads the time.

use std::sync::OnceLock;
#[cfg(any(feature = "testing", test))]
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(any(feature = "testing", test))]
use std::time::Duration;
use std::time::{Instant, SystemTime};

/// One reading of the clock: a monotonic instant for ages, the wall clock for `Date` fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) wall: SystemTime,
}

/// Returns an instant near the start of the process, from which others may be counted.
pub(crate) fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// Where the cache reads the time: the system's clocks, or in tests the `ManualClock` of feature
/// `testing`.
///
/// Ages and lifetimes rest on the monotonic clock, so a wall clock that is set back or forward
/// neither revives a stored response nor ends it. The wall clock is only compared with the `Date`
/// and `Expires` fields that a handler or an upstream sent.
///
/// The system's monotonic clock is tokio's, so under `tokio::time::pause()` stored responses age
/// with the paused time.
#[derive(Clone, Debug, Default)]
pub struct Clock(TimeSource);

#[derive(Clone, Debug, Default)]
enum TimeSource {
    #[default]
    System,
    #[cfg(any(feature = "testing", test))]
    Manual(Arc<Mutex<Now>>),
}

impl Clock {
    pub(crate) fn now(&self) -> Now {
        match &self.0 {
            TimeSource::System => Now {
                instant: tokio::time::Instant::now().into_std(),
                wall: SystemTime::now(),
            },
            #[cfg(any(feature = "testing", test))]
            TimeSource::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Returns what the wall clock shows: for the few requests that bring dates of their own.
    pub(crate) fn wall_now(&self) -> SystemTime {
        match &self.0 {
            TimeSource::System => SystemTime::now(),
            #[cfg(any(feature = "testing", test))]
            TimeSource::Manual(_) => self.now().wall,
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        match &self.0 {
            TimeSource::System => tokio::time::Instant::now().into_std(),
            #[cfg(any(feature = "testing", test))]
            TimeSource::Manual(_) => self.now().instant,
        }
    }
}

/// A clock that stands still until it is moved.
///
/// Both its hands move together with [`advance`](Self::advance); the wall clock alone can be set
/// with [`set_wall`](Self::set_wall), as an administrator or NTP would.
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
#[derive(Clone, Debug)]
#[cfg(any(feature = "testing", test))]
pub struct ManualClock(Arc<Mutex<Now>>);

#[cfg(any(feature = "testing", test))]
impl ManualClock {
    /// Returns a clock that stands at the present moment.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Clock::default().now())))
    }

    /// Moves both hands forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.instant += by;
        now.wall += by;
    }

    /// Sets the wall clock alone, forward or back.
    pub fn set_wall(&self, to: SystemTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall = to;
    }

    /// Returns what the wall clock shows.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall
    }

    /// Returns the clock to give to [`CacheLayerBuilder::clock`](crate::CacheLayerBuilder::clock).
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock(TimeSource::Manual(self.0.clone()))
    }
}

#[cfg(any(feature = "testing", test))]
impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}
