//! A cache for handlers' own values, beside the stored responses. It uses the same store, the same log
//! of invalidations and the same predicate.

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
mod namespace;
mod options;

use namespace::{Address, TURN, ValueNamespace};

pub use codec::{Codec, Json};
pub use counters::Counters;

/// The default TTL of a value. Values have no policy that could set one; five minutes is what teams
/// commonly choose without further thought.
const TTL: Duration = Duration::from_secs(300);

/// The most tags of one value: each tag costs work in every lookup.
const MOST_TAGS: usize = 256;

/// A namespace of values of one type, in the store of a cache; made by [`CacheHandle::values`](crate::CacheHandle::values).
///
/// It keeps data that handlers compute (a user, a permission, a page of a list) by key, with a TTL and
/// with tags. Tags are shared with responses: one write that [evicts](crate::Evict::tag) `user:1`, or
/// one [`CacheHandle::invalidate_tag`](crate::CacheHandle::invalidate_tag), ends both the responses and the values that carry the tag.
///
/// Cheap to clone. Clones, and all handles to a namespace of the same name, share values and counts.
/// A namespace holds values of one type: a value that cannot be read as that type counts as missing
/// and is removed.
///
/// # Consistency
///
/// A call of [`get`](Self::get) or [`get_or_insert_with`](Self::get_or_insert_with) that begins after
/// an invalidation was acknowledged never gets a value whose making began before it. An invalidation
/// is acknowledged once a write that evicts the value's tag was answered, or once [`remove`](Self::remove) or
/// [`CacheHandle::invalidate`](crate::CacheHandle::invalidate) has returned. The log's position is taken *before* the closure of
/// `get_or_insert_with` is called, and one predicate judges values, responses and calls under way by
/// it. A value that is [`set`](Self::set) counts from that call, unless [`as_of`](Self::as_of) gives an
/// earlier position.
///
/// # The end of a value
///
/// A value ends by its TTL; by [`remove`](Self::remove) and [`remove_matching`](Self::remove_matching);
/// by an invalidation of one of its tags or of [everything](crate::CacheHandle::invalidate_all), for
/// which `/**` is another name; and by eviction for capacity. Other patterns over paths, such as
/// `/users/**`, hit only responses. Patterns over values have a form of their own, `values:users?1:*`
/// (see [`Pattern`](crate::Pattern)), which works wherever a pattern over paths does, so in
/// [`Evict::pattern`](crate::Evict::pattern) too. A [soft](crate::Invalidation::soft) invalidation also ends values: they are never
/// served stale.
///
/// # When the store fails
///
/// [`get_or_insert_with`](Self::get_or_insert_with) does not fail, but calls its closure. All other
/// calls return the error to the caller; none takes longer than
/// [`store_deadline`](crate::CacheLayerBuilder::store_deadline) for each of the store's answers. While
/// the cache is [switched off](crate::CacheHandle::set_bypass), lookups find nothing and closures are
/// called; sets, removals and counts are still recorded, so that nothing is stale afterwards.
///
/// # Cost
///
/// A lookup in memory allocates its key and decodes the value. With Redis a lookup is one round trip;
/// storing takes two, of which the first asks what other nodes have invalidated; up to 128 keys share
/// a round trip. Every value removed by its key takes a place in the log, as every invalidation does
/// (see [`Log::with_capacity`](crate::Log::with_capacity)): let numerous short-lived values end by their TTL.
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
/// // However many handlers need it at once, the database is queried once.
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
    namespace: Arc<ValueNamespace>,
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
            namespace: Arc::new(ValueNamespace::new(cache, namespace)),
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
    /// Returns the position of the latest invalidation. Take it before you read the data that you are
    /// going to [`set`](Self::set), and pass it to [`as_of`](Self::as_of).
    ///
    /// # Errors
    ///
    /// Fails if other nodes share the store, and the store could not report what they have invalidated.
    pub async fn position(&self) -> Result<Position, Error> {
        self.namespace.latest_position().await
    }

    /// Returns the counts of this namespace.
    #[must_use]
    pub fn stats(&self) -> ValueStats {
        self.namespace.stats()
    }
}

impl<T, C: Codec<T>> Values<T, C> {
    /// Looks a value up; `None` if none is stored that may be used.
    ///
    /// # Errors
    ///
    /// Fails if the store did. A caller that can do without the value may treat that as `None`;
    /// [`get_or_insert_with`](Self::get_or_insert_with) does.
    pub async fn get(&self, key: &str) -> Result<Option<T>, Error> {
        if self.namespace.cache.is_bypassed() {
            return Ok(None);
        }
        let key = self.namespace.key(key);
        let found = self.namespace.find(key.borrow()).await?;
        Ok(self.read(key.borrow(), found))
    }

    /// Looks several values up, in one round trip if the store needs one, and returns them in the order
    /// of their keys.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), for all of them together.
    pub async fn get_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Option<T>>, Error> {
        let keys = keys.into_iter().map(|key| self.namespace.key(key.as_ref()));
        let keys: Vec<Key> = keys.collect();
        if self.namespace.cache.is_bypassed() {
            return Ok(keys.iter().map(|_| None).collect());
        }
        let mut values = Vec::with_capacity(keys.len());
        for turn in keys.chunks(TURN) {
            let found = self.namespace.find_many(turn).await?;
            let read = |(key, found): (&Key, _)| self.read(key.borrow(), found);
            values.extend(turn.iter().zip(found).map(read));
        }
        Ok(values)
    }

    /// Stores a value, replacing the previous one.
    ///
    /// The value counts as made now. If its data was read earlier, an invalidation in between is
    /// missed, and the value may be stale from the start: then use
    /// [`get_or_insert_with`](Self::get_or_insert_with), or [`as_of`](Self::as_of). A value that was
    /// overtaken in this way, or that a write [holds back](crate::Evict::hold_after), is not stored,
    /// which is not an error.
    ///
    /// A call of `get_or_insert_with` for this key that is under way in this process does not
    /// overwrite this value with its own.
    ///
    /// This stores a value and invalidates nothing. If the store has no room for it, or is a Redis
    /// that does not answer for a moment, the value is lost, and an older one may be found again. When
    /// the data behind a value has changed, [`remove`](Self::remove) the value or invalidate its tags.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Value`](crate::ErrorKind::Value) if the value cannot be encoded,
    /// is larger than [`max_bytes`](Self::max_bytes), or carries too many tags; and fails if the store
    /// did. The previous value may still be stored then.
    pub async fn set(&self, key: &str, value: &T) -> Result<(), Error> {
        self.set_many([(key, value)]).await
    }

    /// Stores several values, in one round trip if the store needs one.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set). If a value is at fault, none is stored; if the store is, some may have
    /// been stored.
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
            let address = self.namespace.address(key.as_ref(), &self.tags);
            let value = self.make(&address, value.borrow(), position)?;
            self.check(&value)?;
            if self.namespace.may_store(&value, self.namespace.now()) {
                storable.push((address.key, value));
            }
        }
        self.namespace.put(storable).await
    }

    /// Removes a value: neither the stored one nor the result of a call of
    /// [`get_or_insert_with`](Self::get_or_insert_with) that is under way is used any more, on this
    /// node or another.
    ///
    /// # Errors
    ///
    /// Fails if the store could not record the removal; a memory store always can.
    pub async fn remove(&self, key: &str) -> Result<(), Error> {
        self.remove_many([key]).await
    }

    /// Removes several values; this takes effect for all of them at once.
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
        self.namespace.remove(&keys).await
    }

    /// Removes all values of this namespace whose keys match a pattern, such as `history:42:*`.
    ///
    /// `*` matches any run of characters, and nothing else is a wildcard; `*` alone matches every key.
    /// A backslash makes the next character literal: `\*`, `\?`, `\{`, `\}`, `\\`. Pass text from
    /// elsewhere through [`Pattern::escape`](crate::Pattern::escape).
    ///
    /// It takes the same time however many values match. Patterns with a single star, at the end and
    /// after a `:` or a `/`, are remembered one by one in any number; of other patterns only a few
    /// hundred are: beyond that, the oldest count for the whole namespace.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove), and with [`ErrorKind::Pattern`](crate::ErrorKind::Pattern) if
    /// the pattern does not parse. An unescaped `?` does not, because it looks like a wildcard.
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
    /// let conversation = "42"; // from elsewhere
    /// pages.remove_matching(&format!("{}:*", Pattern::escape(conversation))).await?;
    /// assert_eq!(pages.get("42:1").await?, None);
    /// assert!(pages.get("421:1").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove_matching(&self, pattern: &str) -> Result<(), Error> {
        self.namespace.remove_matching(pattern).await
    }

    /// Encodes a value to be stored.
    fn make(&self, address: &Address, value: &T, position: Position) -> Result<StoredValue, Error> {
        let bytes = self.codec.encode(value).map_err(|error| {
            self.namespace.counts.add(ValueEvent::Refused, 1);
            Error::value("the value could not be encoded").with_source(error)
        })?;
        let now = self.namespace.now();
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

    /// Refuses a value that is too large or carries too many tags.
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
        self.namespace.counts.add(ValueEvent::Refused, 1);
        Err(Error::value(refusal))
    }

    /// Decodes the result of a lookup, and counts it.
    fn read(&self, key: KeyRef<'_>, found: Option<Arc<StoredValue>>) -> Option<T> {
        let value = found.and_then(|found| self.decode(key, &found));
        let event = match value {
            Some(_) => ValueEvent::Hit,
            None => ValueEvent::Miss,
        };
        self.namespace.counts.add(event, 1);
        value
    }

    fn decode(&self, key: KeyRef<'_>, stored: &StoredValue) -> Option<T> {
        let decoded = self.codec.decode(&stored.bytes());
        if let Err(error) = &decoded {
            tracing::debug!(namespace = %self.namespace.name, %error, "a value could not be read");
            self.namespace.discard(key);
        }
        decoded.ok()
    }
}

// Not derived, as that would require `T: Clone`.
impl<T, C> Clone for Values<T, C> {
    fn clone(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
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
            .field("namespace", &self.namespace.name)
            .field("ttl", &self.ttl)
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}
