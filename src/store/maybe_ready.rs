//! Answers that come at once, or later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use futures_util::future::join_all;

use crate::error::Error;

/// A store's answer: at once, as memory's, or later.
///
/// A memory store answers without a future, so that a hit allocates nothing for it.
///
/// Exhaustive on purpose: an answer is there or is not, and whoever wraps a store has to handle both.
pub enum MaybeReady<T> {
    /// The answer.
    Now(T),
    /// A future of the answer.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> MaybeReady<T> {
    /// Waits for the answer.
    ///
    /// # Cancel safety
    ///
    /// As the store's call: see [`Store`](crate::Store).
    pub async fn get(self) -> T {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

impl<T: Send + 'static> MaybeReady<Result<T, Error>> {
    /// Gathers answers: at once, if all of them came at once.
    pub(super) fn all(answers: impl Iterator<Item = Self>) -> MaybeReady<Result<Vec<T>, Error>> {
        let answers: Vec<Self> = answers.collect();
        if answers.iter().all(|answer| matches!(answer, Self::Now(_))) {
            let now = answers.into_iter().filter_map(|answer| match answer {
                Self::Now(answer) => Some(answer),
                Self::Later(_) => None,
            });
            return MaybeReady::Now(now.collect());
        }
        MaybeReady::Later(Box::pin(async move {
            // A failure does not keep the other calls from being carried out.
            let answers = join_all(answers.into_iter().map(Self::get)).await;
            answers.into_iter().collect()
        }))
    }
}

impl MaybeReady<Result<Vec<()>, Error>> {
    /// Reduces the answers of several changes to one.
    pub(super) fn done(self) -> MaybeReady<Result<(), Error>> {
        match self {
            Self::Now(done) => MaybeReady::Now(done.map(drop)),
            Self::Later(done) => MaybeReady::Later(Box::pin(async move { done.await.map(drop) })),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for MaybeReady<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.debug_tuple("Later").finish_non_exhaustive(),
        }
    }
}
