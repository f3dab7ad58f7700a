//! The candidates, behind one trait: a map from keys to shared values, bounded by weight.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use quick_cache::{Equivalent, OptionsBuilder, Weighter};

/// A value in a store; its weight is that of the whole entry.
#[derive(Debug)]
pub struct Value {
    pub weight: u32,
    #[expect(dead_code, reason = "takes room, and nobody looks at it")]
    pub body: Vec<u8>,
}

/// A key with its hash, as in the crate: 24 bytes and one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    hash: u64,
    bytes: Box<[u8]>,
}

/// The key of a lookup.
#[derive(Clone, Copy)]
pub struct KeyRef<'a> {
    hash: u64,
    bytes: &'a [u8],
}

impl Key {
    pub fn new(bytes: &[u8]) -> Self {
        let seed = foldhash::quality::FixedState::with_seed(42);
        Self {
            hash: seed.hash_one(bytes),
            bytes: bytes.into(),
        }
    }

    pub fn borrow(&self) -> KeyRef<'_> {
        KeyRef {
            hash: self.hash,
            bytes: &self.bytes,
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.hash == key.hash && *self.bytes == *key.bytes
    }
}

/// A hasher that returns a key's own hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ready(u64);

impl BuildHasher for Ready {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key writes one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

pub trait Engine: Send + Sync {
    fn get(&self, key: KeyRef<'_>) -> Option<Arc<Value>>;
    fn insert(&self, key: Key, value: Arc<Value>);
    /// Does deferred work, if the engine defers any.
    fn settle(&self) {}
    fn weight(&self) -> u64;
    fn len(&self) -> usize;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Quick,
    Moka,
    FoyerLru,
    FoyerS3Fifo,
    FoyerTinyLfu,
}

pub const KINDS: [Kind; 5] = [
    Kind::Quick,
    Kind::Moka,
    Kind::FoyerLru,
    Kind::FoyerS3Fifo,
    Kind::FoyerTinyLfu,
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Quick => "quick_cache",
            Self::Moka => "moka",
            Self::FoyerLru => "foyer-lru",
            Self::FoyerS3Fifo => "foyer-s3fifo",
            Self::FoyerTinyLfu => "foyer-tinylfu",
        })
    }
}

/// The configuration of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub capacity: u64,
    /// The approximate number of values expected to fit.
    pub items: usize,
    pub shards: usize,
    /// The TTL, for engines that can expire entries themselves.
    pub ttl: Option<Duration>,
}

impl Kind {
    pub fn build(self, setup: Setup) -> Box<dyn Engine> {
        match self {
            Self::Quick => Box::new(quick(setup)),
            Self::Moka => Box::new(moka(setup)),
            Self::FoyerLru => Box::new(foyer(setup, ::foyer::LruConfig::default())),
            Self::FoyerS3Fifo => Box::new(foyer(setup, ::foyer::S3FifoConfig::default())),
            Self::FoyerTinyLfu => Box::new(foyer(setup, ::foyer::LfuConfig::default())),
        }
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<Key, Arc<Value>> for ByWeight {
    fn weight(&self, _: &Key, value: &Arc<Value>) -> u64 {
        value.weight.into()
    }
}

type Quick = quick_cache::sync::Cache<Key, Arc<Value>, ByWeight, Ready>;

fn quick(setup: Setup) -> Quick {
    let options = OptionsBuilder::new()
        .weight_capacity(setup.capacity)
        .estimated_items_capacity(setup.items)
        .shards(setup.shards)
        .build()
        .expect("both capacities are set");
    Quick::with_options(options, ByWeight, Ready::default(), Default::default())
}

impl Engine for Quick {
    fn get(&self, key: KeyRef<'_>) -> Option<Arc<Value>> {
        self.get(&key)
    }

    fn insert(&self, key: Key, value: Arc<Value>) {
        self.insert(key, value);
    }

    fn weight(&self) -> u64 {
        self.weight()
    }

    fn len(&self) -> usize {
        self.len()
    }
}

type Moka = moka::sync::Cache<Key, Arc<Value>, Ready>;

fn moka(setup: Setup) -> Moka {
    let builder = ::moka::sync::Cache::builder()
        .max_capacity(setup.capacity)
        .weigher(|_, value: &Arc<Value>| value.weight);
    match setup.ttl {
        Some(ttl) => builder.time_to_live(ttl),
        None => builder,
    }
    .build_with_hasher(Ready::default())
}

impl Engine for Moka {
    fn get(&self, key: KeyRef<'_>) -> Option<Arc<Value>> {
        self.get(&key)
    }

    fn insert(&self, key: Key, value: Arc<Value>) {
        self.insert(key, value);
    }

    fn settle(&self) {
        self.run_pending_tasks();
    }

    fn weight(&self) -> u64 {
        self.weighted_size()
    }

    fn len(&self) -> usize {
        self.entry_count() as usize
    }
}

type Foyer = ::foyer::Cache<Key, Arc<Value>, Ready>;

fn foyer(setup: Setup, eviction: impl Into<::foyer::EvictionConfig>) -> Foyer {
    ::foyer::CacheBuilder::new(setup.capacity as usize)
        .with_shards(setup.shards)
        .with_eviction_config(eviction)
        .with_hash_builder(Ready::default())
        .with_weighter(|_, value: &Arc<Value>| value.weight as usize)
        .build()
}

impl Engine for Foyer {
    fn get(&self, key: KeyRef<'_>) -> Option<Arc<Value>> {
        self.get(&key).map(|entry| entry.value().clone())
    }

    fn insert(&self, key: Key, value: Arc<Value>) {
        self.insert(key, value);
    }

    fn weight(&self) -> u64 {
        self.usage() as u64
    }

    fn len(&self) -> usize {
        self.entries()
    }
}
