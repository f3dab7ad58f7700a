//! Finding the latest invalidation that matches a subject.

use super::keys::{Keys, Place, PlacedGlob};
use super::subject::SubjectRef;
use super::table::{Stamp, Table};

/// How many globs are matched one by one.
pub(super) const MAX_GLOBS: usize = 256;

/// The latest stamp of each invalidation, found by what it matches.
///
/// Bounded: when there is no room the oldest invalidation is forgotten, and its stamp holds for
/// everything from then on. So does the oldest glob's for all that begins as the glob does.
#[derive(Debug)]
pub(super) struct Index<S> {
    table: Table<S>,
    /// The globs, by when they were last recorded.
    globs: Vec<FilteredGlob<S>>,
    /// What holds for every subject.
    everywhere: S,
}

impl<S: Stamp> Index<S> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            table: Table::new(capacity),
            globs: Vec::new(),
            everywhere: S::default(),
        }
    }

    /// Returns how many invalidations are told apart.
    pub(super) fn len(&self) -> usize {
        self.table.len() + self.globs.len()
    }

    /// Records an invalidation.
    pub(super) fn record(&mut self, place: Place, stamp: S) {
        match place {
            Place::Everywhere => self.everywhere.absorb(stamp),
            Place::Key(key) => self.record_key(key, stamp),
            Place::Glob(glob) => self.record_glob(glob, stamp),
        }
    }

    /// Returns the latest stamp of all that matches a subject, whose keys these are.
    pub(super) fn latest(&self, keys: &Keys, subject: SubjectRef<'_>) -> S {
        let mut latest = self.everywhere;
        for stamp in keys.iter().filter_map(|key| self.table.get(*key)) {
            latest.absorb(stamp);
        }
        if !self.globs.is_empty() {
            let ends = Ends::of(subject.path);
            for glob in self.globs.iter().filter(|glob| glob.matches(ends, subject)) {
                latest.absorb(glob.stamp);
            }
        }
        latest
    }

    fn record_key(&mut self, key: u64, stamp: S) {
        if let Some(forgotten) = self.table.record(key, stamp) {
            self.everywhere.absorb(forgotten);
        }
    }

    fn record_glob(&mut self, placed: PlacedGlob, stamp: S) {
        let known = self
            .globs
            .iter()
            .position(|known| known.placed.id == placed.id);
        let mut glob = match known {
            Some(at) => self.globs.remove(at),
            None => FilteredGlob::new(placed),
        };
        glob.stamp.absorb(stamp);
        self.globs.push(glob);
        if self.globs.len() > MAX_GLOBS {
            let oldest = self.globs.remove(0);
            self.record(oldest.placed.coarse_place(), oldest.stamp);
        }
    }
}

/// A glob behind a filter that turns most paths away without looking at the glob's pieces.
#[derive(Debug)]
struct FilteredGlob<S> {
    /// The length of the literal prefix, and its last bytes.
    prefix: usize,
    prefix_end: Filter,
    tail: Filter,
    stamp: S,
    placed: PlacedGlob,
}

impl<S: Stamp> FilteredGlob<S> {
    fn new(placed: PlacedGlob) -> Self {
        let prefix = placed.glob.literal_prefix();
        Self {
            prefix: prefix.len(),
            prefix_end: Filter::new(&prefix),
            tail: Filter::new(placed.glob.literal_tail()),
            stamp: S::default(),
            placed,
        }
    }

    fn matches(&self, ends: Ends<'_>, subject: SubjectRef<'_>) -> bool {
        self.tail.admits(ends.tail)
            && ends
                .path
                .get(..self.prefix)
                .is_some_and(|prefix| self.prefix_end.admits(last_bytes(prefix)))
            && self.placed.glob.matches(subject.path, subject.query)
    }
}

/// A path, and its last bytes.
#[derive(Clone, Copy)]
struct Ends<'a> {
    path: &'a [u8],
    tail: u64,
}

impl<'a> Ends<'a> {
    fn of(path: &'a str) -> Self {
        Self {
            path: path.as_bytes(),
            tail: last_bytes(path.as_bytes()),
        }
    }
}

/// Up to eight bytes that a text has to end with.
#[derive(Clone, Copy, Debug)]
struct Filter {
    wanted: u64,
    mask: u64,
}

impl Filter {
    fn new(text: &str) -> Self {
        let unknown = 8 * 8usize.saturating_sub(text.len());
        let mask = u32::try_from(unknown)
            .ok()
            .and_then(|bits| u64::MAX.checked_shl(bits));
        Self {
            wanted: last_bytes(text.as_bytes()),
            mask: mask.unwrap_or(0),
        }
    }

    fn admits(self, last_bytes: u64) -> bool {
        last_bytes & self.mask == self.wanted
    }
}

/// Returns the last eight bytes, the very last one as the most significant.
fn last_bytes(bytes: &[u8]) -> u64 {
    match bytes.last_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => bytes
            .iter()
            .fold(0, |word, byte| word >> 8 | u64::from(*byte) << 56),
    }
}
