//! Finding the latest invalidation that matches a subject.

use super::keys::{Keys, Place, PlacedGlob};
use super::subject::SubjectRef;
use super::table::{Stamp, Table};
use crate::mutant::{self, Mutant};

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
    globs: Vec<StampedGlob<S>>,
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
            Place::Everywhere if mutant::is(Mutant::EverythingIgnored) => {}
            Place::Everywhere => self.everywhere.absorb(stamp),
            Place::Key(key) => self.record_key(key, stamp),
            Place::Glob(glob) => self.record_glob(glob, stamp),
        }
    }

    /// Returns the latest stamp of all that matches a subject, whose keys these are.
    pub(super) fn latest(&self, keys: &Keys, subject: SubjectRef<'_>) -> S {
        let mut latest = self.everywhere;
        for stamp in keys.places.iter().filter_map(|key| self.table.get(*key)) {
            latest.absorb(stamp);
        }
        for StampedGlob { placed, stamp } in &self.globs {
            if !mutant::is(Mutant::GlobIgnored)
                && placed.may_match(keys)
                && placed.matches(keys, subject)
            {
                latest.absorb(*stamp);
            }
        }
        latest
    }

    fn record_key(&mut self, key: u64, stamp: S) {
        let forgotten = self.table.record(key, stamp);
        if let (Some(forgotten), false) = (forgotten, mutant::is(Mutant::FloorIgnored)) {
            self.everywhere.absorb(forgotten);
        }
    }

    fn record_glob(&mut self, placed: PlacedGlob, stamp: S) {
        let known = self.globs.iter().position(|known| known.placed.is(&placed));
        let mut glob = match known {
            Some(at) => self.globs.remove(at),
            None => StampedGlob {
                placed,
                stamp: S::default(),
            },
        };
        glob.stamp.absorb(stamp);
        self.globs.push(glob);
        if self.globs.len() > MAX_GLOBS {
            let oldest = self.globs.remove(0);
            self.record(oldest.placed.coarse_place(), oldest.stamp);
        }
    }
}

/// A glob, and when it was last recorded.
#[derive(Debug)]
struct StampedGlob<S> {
    placed: PlacedGlob,
    stamp: S,
}
