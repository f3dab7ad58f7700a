//! A cache for handlers' own values, beside the stored responses: the same store, the same log of
//! invalidations, the same predicate.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::entry::StoredValue;
use crate::error::Error;
use crate::invalidate::Position;
use crate::key::{Key, KeyRef};
use crate::policy::{MAX_BODY, MAX_WAIT};
use crate::state::CacheState;
use crate::target::Subject;
use crate::telemetry::{ValueEvent, ValueStats};

mod codec;
mod counters;
mod fill;
mod options;
mod space;

use space::{Address, Space, TURN};

pub use codec::{Codec, Json};
pub use counters::Counters;

/// How long a value may be used unless it is said otherwise. There is no request, and so no policy,
/// that would say it; five minutes is what teams write down for what they have not thought about.
const TTL: Duration = Duration::from_secs(300);

/// More tags than this are not tags: each costs work in every lookup.
const MOST_TAGS: usize = 256;

/// A namespace of values of one type, in the store of a cache; made by [`CacheHandle::values`](crate::CacheHandle::values).
///
/// What a handler has worked out (a user, a permission, a page of a list) can be kept here by key, with
/// a TTL and with tags. Tags are shared with responses: one write that [evicts](crate::Evict::tag)
/// `user:1`, or one [`CacheHandle::invalidate_tag`](crate::CacheHandle::invalidate_tag), ends both the responses and the values that carry
/// it.
///
/// Cheap to clone; clones, and all handles to a namespace of the same name, share values and counts.
/// A namespace holds values of one type: what cannot be read as that type counts as missing and is
/// removed.
///
/// # What is promised
///
/// A call of [`get`](Self::get) or [`get_or_insert_with`](Self::get_or_insert_with) that begins after
/// an invalidation was acknowledged (a write that evicts the value's tag was answered;
/// [`remove`](Self::remove) or [`CacheHandle::invalidate`](crate::CacheHandle::invalidate) has returned) is given no value that was
/// begun to be made before. The log's position is taken *before* the closure of
/// `get_or_insert_with` is called, and one predicate judges values, responses and calls under way by
/// it. A value that is [`set`](Self::set) counts from that call, unless [`as_of`](Self::as_of) tells
/// from when.
///
/// # What ends a value
///
/// Its TTL; [`remove`](Self::remove) and [`remove_matching`](Self::remove_matching); an invalidation
/// of one of its tags or of [everything](crate::CacheHandle::invalidate_all), for which `/**` is another
/// name; and the store's lack of room. Other patterns over paths, such as `/users/**`, hit responses
/// alone. There is a form of pattern for values, `values:users?1:*` (see [`Pattern`](crate::Pattern)),
/// that can be given wherever one over paths can, so in [`Evict::pattern`](crate::Evict::pattern) too.
/// What is [softly](crate::Invalidation::soft) invalidated is not used either: values are never
/// served stale.
///
/// # When the store fails
///
/// [`get_or_insert_with`](Self::get_or_insert_with) never fails for it, and calls its closure. All
/// other calls return the error and leave it to the caller; none takes longer than
/// [`store_deadline`](crate::CacheLayerBuilder::store_deadline) for each of the store's answers. While
/// the cache is [switched off](crate::CacheHandle::set_bypass), nothing is found, and closures are called;
/// what is set, removed and counted is still recorded, so that nothing is out of date afterwards.
///
/// # Cost
///
/// A lookup in memory allocates its key, and decodes the value. With Redis a lookup is one round trip;
/// storing is two, of which the first asks what other nodes have invalidated; of many keys 128 go
/// together. Every value removed by its key takes a
/// place in the log, as every invalidation does (see [`Log::with_capacity`](crate::Log::with_capacity)):
/// let values that are many and short-lived end by their TTL.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_response_cache::CacheLayer;
///
/// #[derive(Debug, PartialEq, Deserialize, Serialize)]
/// struct User { name: String }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_response_cache::Error> {
/// # async fn load(_: u32) -> Result<User, std::io::Error> { Ok(User { name: "Ada".into() }) }
/// let handle = CacheLayer::builder().build()?.handle();
/// let users = handle.values::<User>("users");
///
/// // However many handlers ask at once, the database is asked once.
/// let tagged = users.tags(["user:1"]);
/// let user = tagged.get_or_insert_with("1", async || load(1).await).await;
/// assert_eq!(user.unwrap().name, "Ada");
/// assert!(users.get("1").await?.is_some());
///
/// // As a write to user 1 does under `.on_write("/users/{id}", Evict::tag("user:{id}"))`:
/// handle.invalidate_tag("user:1").await?;
/// assert_eq!(users.get("1").await?, None);
/// # Ok(())
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "values")))]
pub struct Values<T, C = Json> {
    space: Arc<Space>,
    ttl: Duration,
    max_bytes: usize,
    max_wait: Duration,
    as_of: Option<Position>,
    tags: Arc<[Box<str>]>,
    tags_of: Option<TagsOf<T>>,
    codec: Arc<C>,
    of: PhantomData<fn(T) -> T>,
}

type TagsOf<T> = Arc<dyn Fn(&T) -> Vec<Box<str>> + Send + Sync>;

impl<T> Values<T> {
    pub(crate) fn new(cache: Arc<CacheState>, namespace: &str) -> Self {
        Self {
            space: Arc::new(Space::new(cache, namespace)),
            ttl: TTL,
            max_bytes: MAX_BODY,
            max_wait: MAX_WAIT,
            as_of: None,
            tags: Arc::default(),
            tags_of: None,
            codec: Arc::new(Json),
            of: PhantomData,
        }
    }
}

impl<T, C> Values<T, C> {
    /// Returns the position of the latest invalidation: take it before you read what you are going to
    /// [`set`](Self::set), and pass it to [`as_of`](Self::as_of).
    ///
    /// # Errors
    ///
    /// Fails where other nodes share the store, and it could not be asked what they have invalidated.
    pub async fn position(&self) -> Result<Position, Error> {
        self.space.latest_position().await
    }

    /// Returns what became of this namespace's values.
    #[must_use]
    pub fn stats(&self) -> ValueStats {
        self.space.stats()
    }
}

impl<T, C: Codec<T>> Values<T, C> {
    /// Looks a value up. `None` where there is none that may be used.
    ///
    /// # Errors
    ///
    /// Fails where the store did. A caller that can do without the value takes that for `None`;
    /// [`get_or_insert_with`](Self::get_or_insert_with) does.
    pub async fn get(&self, key: &str) -> Result<Option<T>, Error> {
        if self.space.cache.is_bypassed() {
            return Ok(None);
        }
        let key = self.space.key(key);
        let found = self.space.find(key.borrow()).await?;
        Ok(self.read(key.borrow(), found))
    }

    /// Looks several values up, in one turn where the store takes time, and returns them in the order
    /// of their keys.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), for all of them together.
    pub async fn get_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Option<T>>, Error> {
        let keys = keys.into_iter().map(|key| self.space.key(key.as_ref()));
        let keys: Vec<Key> = keys.collect();
        if self.space.cache.is_bypassed() {
            return Ok(keys.iter().map(|_| None).collect());
        }
        let mut values = Vec::with_capacity(keys.len());
        for turn in keys.chunks(TURN) {
            let found = self.space.find_many(turn).await?;
            let read = |(key, found): (&Key, _)| self.read(key.borrow(), found);
            values.extend(turn.iter().zip(found).map(read));
        }
        Ok(values)
    }

    /// Stores a value, in place of what was there.
    ///
    /// The value counts as made now. If it was read from somewhere before, what was invalidated in
    /// between has not reached it, and it is too old from the start: then use
    /// [`get_or_insert_with`](Self::get_or_insert_with), or [`as_of`](Self::as_of). A value that was
    /// overtaken like this, or that a write [holds back](crate::Evict::hold_after), is not stored,
    /// which is no error.
    ///
    /// A call of `get_or_insert_with` for this key that is under way in this process does not store
    /// what it brings over this.
    ///
    /// This stores a value and invalidates nothing: where the store has no room for it, or is a Redis
    /// that does not answer for a moment, the value is lost, and an older one may be found again. When
    /// what a value was made from has changed, [`remove`](Self::remove) it or invalidate its tags.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Value`](crate::ErrorKind::Value) where the value cannot be encoded,
    /// is larger than [`max_bytes`](Self::max_bytes), or carries too many tags; and where the store
    /// failed. What was there before may be there still.
    pub async fn set(&self, key: &str, value: &T) -> Result<(), Error> {
        self.set_many([(key, value)]).await
    }

    /// Stores several values, in one turn where the store takes time.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set). Where a value is at fault, none is stored; where the store is, some of
    /// them may have been.
    pub async fn set_many(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<str>, impl Borrow<T>)>,
    ) -> Result<(), Error> {
        let position = match self.as_of {
            Some(position) => position,
            None => self.position().await?,
        };
        let mut storable = Vec::new();
        for (key, value) in entries {
            let address = self.space.address(key.as_ref(), &self.tags);
            let value = self.make(&address, value.borrow(), position)?;
            self.check(&value)?;
            if self.space.may_store(&value, self.space.now()) {
                storable.push((address.key, value));
            }
        }
        self.space.put(storable).await
    }

    /// Has a value used no more: neither what is stored, nor what calls of
    /// [`get_or_insert_with`](Self::get_or_insert_with) that are under way will bring, on this node
    /// or another.
    ///
    /// # Errors
    ///
    /// Fails where the store could not record it; a memory store always can.
    pub async fn remove(&self, key: &str) -> Result<(), Error> {
        self.remove_many([key]).await
    }

    /// Has several values used no more, which takes effect for all of them at once.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    pub async fn remove_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<(), Error> {
        let keys: Vec<_> = keys.into_iter().collect();
        let keys: Vec<_> = keys.iter().map(AsRef::as_ref).collect();
        self.space.remove(&keys).await
    }

    /// Has all values of this namespace used no more whose keys match a pattern, such as
    /// `history:42:*`.
    ///
    /// `*` is any run of characters, and nothing else is a wildcard; `*` alone is every key. A
    /// backslash makes a character mean itself: `\*`, `\?`, `\{`, `\}`, `\\`. Put text from elsewhere
    /// through [`Pattern::escape`](crate::Pattern::escape).
    ///
    /// It takes the same time however many values match. Patterns with one star, at the end and
    /// behind a `:` or a `/`, can be told apart without number; of others only a few hundred: if there
    /// are more, the oldest count for the whole namespace.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove), and with [`ErrorKind::Pattern`](crate::ErrorKind::Pattern) where
    /// the pattern does not parse. An unescaped `?` does not, for it looks like a wildcard.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_response_cache::Error> {
    /// # use tower_response_cache::{CacheLayer, Pattern};
    /// # let handle = CacheLayer::builder().build()?.handle();
    /// let pages = handle.values::<String>("history");
    /// pages.set("42:1", &"the first page".into()).await?;
    /// pages.set("421:1", &"of another conversation".into()).await?;
    /// let conversation = "42"; // from somewhere else
    /// pages.remove_matching(&format!("{}:*", Pattern::escape(conversation))).await?;
    /// assert_eq!(pages.get("42:1").await?, None);
    /// assert!(pages.get("421:1").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove_matching(&self, pattern: &str) -> Result<(), Error> {
        self.space.remove_matching(pattern).await
    }

    /// Makes a value to be stored.
    fn make(&self, address: &Address, value: &T, position: Position) -> Result<StoredValue, Error> {
        let bytes = self.codec.encode(value).map_err(|error| {
            self.space.counts.add(ValueEvent::Refused, 1);
            Error::value("the value could not be encoded").with_source(error)
        })?;
        let now = self.space.now();
        let made = |subject: &Subject| {
            StoredValue::new(&bytes, subject, now, Duration::ZERO, self.ttl, position)
        };
        Ok(match &self.tags_of {
            None => made(&address.subject),
            Some(tags_of) => {
                let mut tags = address.subject.tags().to_vec();
                tags.extend(tags_of(value));
                made(&address.subject.clone().with_tags(tags))
            }
        })
    }

    /// Refuses what is too large.
    fn check(&self, value: &StoredValue) -> Result<(), Error> {
        let (bytes, tags) = (value.bytes().len(), value.subject().tags().len());
        let refusal = if bytes > self.max_bytes {
            let most = self.max_bytes;
            format!("a value of {bytes} bytes is larger than the {most} that its namespace allows")
        } else if tags > MOST_TAGS {
            format!("a value with {tags} tags has more than {MOST_TAGS}")
        } else {
            return Ok(());
        };
        self.space.counts.add(ValueEvent::Refused, 1);
        Err(Error::value(refusal))
    }

    /// Decodes what a lookup came to, and counts it.
    fn read(&self, key: KeyRef<'_>, found: Option<Arc<StoredValue>>) -> Option<T> {
        let value = found.and_then(|found| self.decode(key, &found));
        let event = match value {
            Some(_) => ValueEvent::Hit,
            None => ValueEvent::Miss,
        };
        self.space.counts.add(event, 1);
        value
    }

    fn decode(&self, key: KeyRef<'_>, stored: &StoredValue) -> Option<T> {
        let decoded = self.codec.decode(&stored.bytes());
        if let Err(error) = &decoded {
            tracing::debug!(namespace = %self.space.name, %error, "a value could not be read");
            self.space.discard(key);
        }
        decoded.ok()
    }
}

// Not derived: that would ask for a `T` that can be cloned.
impl<T, C> Clone for Values<T, C> {
    fn clone(&self) -> Self {
        Self {
            space: self.space.clone(),
            ttl: self.ttl,
            max_bytes: self.max_bytes,
            max_wait: self.max_wait,
            as_of: self.as_of,
            tags: self.tags.clone(),
            tags_of: self.tags_of.clone(),
            codec: self.codec.clone(),
            of: PhantomData,
        }
    }
}

impl<T, C> fmt::Debug for Values<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("namespace", &self.space.name)
            .field("ttl", &self.ttl)
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}
