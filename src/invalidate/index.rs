//! Finding the latest invalidation that matches a subject.

use super::keys::{Keys, PlacedGlob, Placement};
use super::sketch::TextSketch;
use super::table::{Merge, StampTable};
use crate::target::SubjectRef;

/// How many globs are matched one by one.
pub(super) const MAX_GLOBS: usize = 256;

/// How many globs whose sketches do not rule them out are matched, latest first.
/// The rest, which takes globs made of the same runs in other orders, count as matches: a verdict
/// has a bound, and whoever writes such patterns pays with a miss more.
pub(super) const MAX_MATCHED: usize = 32;

/// The latest stamp of each invalidation, found by what it matches.
///
/// Bounded: when there is no room the oldest invalidation is forgotten, and its stamp holds for
/// everything from then on. So does the oldest glob's for all that begins as the glob does.
#[derive(Debug)]
pub(super) struct Index<S> {
    table: StampTable<S>,
    globs: Globs<S>,
    /// The stamp that holds for every subject.
    everywhere: S,
}

impl<S: Merge> Index<S> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            table: StampTable::new(capacity),
            globs: Globs::default(),
            everywhere: S::default(),
        }
    }

    /// Returns how many invalidations are distinguished.
    pub(super) fn len(&self) -> usize {
        self.table.len() + self.globs.stamped.len()
    }

    /// Records an invalidation.
    pub(super) fn record(&mut self, place: Placement, stamp: S) {
        match place {
            Placement::Everywhere => self.everywhere.absorb(stamp),
            Placement::Key(key) => self.record_key(key, stamp),
            Placement::Glob(glob) => self.record_glob(glob, stamp),
        }
    }

    /// Returns the latest stamp of all that matches a subject, whose keys these are. Globs are only
    /// looked at from the oldest whose stamp matters; so must those of all later ones.
    pub(super) fn latest(
        &self,
        keys: &Keys,
        subject: SubjectRef<'_>,
        matters: impl Fn(S) -> bool,
    ) -> S {
        let mut latest = self.everywhere;
        for stamp in keys.places.iter().filter_map(|key| self.table.get(*key)) {
            latest.absorb(stamp);
        }
        let (sketches, stamped) = self.globs.since(matters);
        if stamped.is_empty() {
            return latest;
        }
        let text = keys.sketch(subject);
        let mut tried = 0;
        for (sketch, (placed, stamp)) in sketches.iter().zip(stamped).rev() {
            if !sketch.may_be_in(text) {
                continue;
            }
            tried += 1;
            if tried > MAX_MATCHED || placed.matches_all(keys, subject) {
                latest.absorb(*stamp);
            }
        }
        latest
    }

    fn record_key(&mut self, key: u64, stamp: S) {
        let forgotten = self.table.record(key, stamp);
        if let Some(forgotten) = forgotten {
            self.everywhere.absorb(forgotten);
        }
    }

    fn record_glob(&mut self, placed: PlacedGlob, stamp: S) {
        self.globs.record(placed, stamp);
        if let Some((oldest, stamp)) = self.globs.take_surplus() {
            self.record(oldest.coarse_place(), stamp);
        }
    }
}

/// The globs, by their stamps.
#[derive(Debug)]
struct Globs<S> {
    /// The sketches that rule most of them out, side by side: a verdict may have to read them all.
    sketches: Vec<TextSketch>,
    stamped: Vec<(PlacedGlob, S)>,
}

impl<S> Default for Globs<S> {
    fn default() -> Self {
        Self {
            sketches: Vec::new(),
            stamped: Vec::new(),
        }
    }
}

impl<S: Merge> Globs<S> {
    /// Returns those from the oldest whose stamp matters.
    fn since(&self, matters: impl Fn(S) -> bool) -> (&[TextSketch], &[(PlacedGlob, S)]) {
        let at = self.stamped.partition_point(|(_, stamp)| !matters(*stamp));
        (&self.sketches[at..], &self.stamped[at..])
    }

    fn record(&mut self, placed: PlacedGlob, mut stamp: S) {
        let known = self.stamped.iter().position(|(known, _)| known.is(&placed));
        if let Some(at) = known {
            self.sketches.remove(at);
            stamp.absorb(self.stamped.remove(at).1);
        }
        // Answers of a shared log may be overtaken by later ones: mostly, but not always, at the end.
        let later = self.stamped.iter().rev();
        let later = later.take_while(|(_, known)| known.is_later_than(stamp));
        let at = self.stamped.len() - later.count();
        self.sketches.insert(at, placed.sketch());
        self.stamped.insert(at, (placed, stamp));
    }

    /// Takes the glob with the oldest stamp out, where there are too many.
    fn take_surplus(&mut self) -> Option<(PlacedGlob, S)> {
        if self.stamped.len() <= MAX_GLOBS {
            return None;
        }
        self.sketches.remove(0);
        Some(self.stamped.remove(0))
    }
}
