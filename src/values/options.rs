//! The options of a namespace: lifetime, tags, bounds and codec.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{Codec, Values};
use crate::invalidate::Position;

/// Each of these methods returns the same namespace with one option changed: keep it, or use it once, as
/// in `users.tags(["user:1"]).set("1", &user)`.
impl<T, C> Values<T, C> {
    /// Sets the TTL of values stored through this. The default is five minutes.
    ///
    /// A value as old as its TTL is not used any more. With a TTL of zero, a value is not stored, and
    /// the previous one is removed.
    #[must_use]
    pub fn ttl(&self, ttl: Duration) -> Self {
        Self {
            ttl,
            ..self.clone()
        }
    }

    /// Adds tags to values stored through this. Tags are compared byte for byte with those of
    /// responses. A value with more than 256 tags is not stored.
    #[must_use]
    pub fn tags(&self, tags: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let added = tags.into_iter().map(Into::into);
        let tags = self.tags.iter().cloned().chain(added).collect();
        Self {
            tags,
            ..self.clone()
        }
    }

    /// Adds tags derived from the value itself, such as one for each item of a list.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_response_cache::Error> {
    /// # use tower_response_cache::CacheLayer;
    /// # let handle = CacheLayer::builder().build()?.handle();
    /// let members = handle
    ///     .values::<Vec<u32>>("members")
    ///     .tags_of(|ids| ids.iter().map(|id| format!("user:{id}")).collect::<Vec<_>>());
    /// members.set("team", &vec![7, 8]).await?;
    /// handle.invalidate_tag("user:8").await?;
    /// assert_eq!(members.get("team").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tags_of<I>(&self, tags_of: impl Fn(&T) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Box<str>>,
    {
        let tags_of = move |value: &T| tags_of(value).into_iter().map(Into::into).collect();
        Self {
            tags_of: Some(Arc::new(tags_of)),
            ..self.clone()
        }
    }

    /// Bounds the bytes of one encoded value. The default is 1 MiB, as for bodies. A larger value is
    /// not stored, nor is one that exceeds the store's own limit for an entry.
    #[must_use]
    pub fn max_bytes(&self, bytes: usize) -> Self {
        Self {
            max_bytes: bytes,
            ..self.clone()
        }
    }

    /// Bounds how long a closure keeps other callers of
    /// [`get_or_insert_with`](Self::get_or_insert_with) waiting. The default is 10 seconds.
    ///
    /// After that, the next caller, or one of those that wait, calls its own closure. The others wait
    /// on, for whichever closure ends first.
    #[must_use]
    pub fn max_wait(&self, wait: Duration) -> Self {
        Self {
            max_wait: wait,
            ..self.clone()
        }
    }

    /// Sets the [`position`](Self::position) as of which values that are [`set`](Self::set) through
    /// this count: an invalidation after that position applies to them.
    ///
    /// [`get_or_insert_with`](Self::get_or_insert_with) takes a position of its own, and ignores this.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_response_cache::Error> {
    /// # use tower_response_cache::CacheLayer;
    /// # let handle = CacheLayer::builder().build()?.handle();
    /// let totals = handle.values::<u64>("totals");
    /// let before = totals.position().await?;
    /// let total = 3; // read from a database, while
    /// totals.remove("today").await?; // another task changes it
    /// totals.as_of(before).set("today", &total).await?;
    /// assert_eq!(totals.get("today").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_of(&self, position: Position) -> Self {
        Self {
            as_of: Some(position),
            ..self.clone()
        }
    }

    /// Sets the codec. The default is [`Json`](super::Json).
    #[must_use]
    pub fn codec<D: Codec<T>>(&self, codec: D) -> Values<T, D> {
        Values {
            namespace: self.namespace.clone(),
            ttl: self.ttl,
            max_bytes: self.max_bytes,
            max_wait: self.max_wait,
            as_of: self.as_of,
            tags: self.tags.clone(),
            tags_of: self.tags_of.clone(),
            codec: Arc::new(codec),
            of: PhantomData,
        }
    }
}
