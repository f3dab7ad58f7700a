//! Writes under way: what they will invalidate is not used until they have ended.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::index::MAX_GLOBS;
use super::invalidation::Invalidation;
use super::keys::{Keys, PlacedGlob, Slot};
use super::position::Position;
use super::shared::Shared;
use super::subject::SubjectRef;
use crate::key::KeyHasher;

/// A write under way. Dropped, it counts as done: nobody can tell how far it came.
#[must_use]
pub(crate) struct Intent {
    shared: Arc<Shared>,
    invalidations: Box<[Invalidation]>,
    open: OpenPlaces,
}

impl Intent {
    pub(super) fn open(shared: Arc<Shared>, invalidations: Box<[Invalidation]>) -> Self {
        let placed = shared.place(&invalidations);
        let mut state = shared.write();
        let open = state.open.begin(placed.into_iter().map(|(place, _)| place));
        shared.publish(shared.head().position, &state);
        drop(state);
        Self {
            shared,
            invalidations,
            open,
        }
    }

    /// Records the invalidations of a write that was made, and returns their position.
    #[cfg(test)]
    pub(crate) fn commit(mut self) -> Position {
        self.close(true)
    }

    /// Forgets about a write that was not made: what it would have invalidated is good again.
    pub(crate) fn abandon(mut self) {
        self.close(false);
    }

    /// Closes the intent, the first time it is called. Opening ends and the record begins under
    /// one lock, so there is no moment between the two.
    fn close(&mut self, made: bool) -> Position {
        let invalidations = std::mem::take(&mut self.invalidations);
        if invalidations.is_empty() {
            return self.shared.head().position;
        }
        let placed = self.shared.place(&invalidations);
        let mut state = self.shared.write();
        state.open.end(&self.open);
        if made {
            return self.shared.record(&mut state, placed);
        }
        let head = self.shared.head().position;
        self.shared.publish(head, &state);
        head
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        self.close(true);
    }
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intent").field(&self.invalidations).finish()
    }
}

/// Places that a write holds open.
pub(super) type OpenPlaces = SmallVec<[Slot; 4]>;

/// How many writes under way hold each place open. As large as there are writes under way.
#[derive(Debug, Default)]
pub(super) struct Open {
    keys: HashMap<u64, usize, KeyHasher>,
    globs: Vec<(PlacedGlob, usize)>,
    everywhere: usize,
}

impl Open {
    pub(super) fn is_empty(&self) -> bool {
        self.everywhere == 0 && self.keys.is_empty() && self.globs.is_empty()
    }

    /// Opens places, and returns those to close again: a glob becomes its literal beginning where
    /// there are too many.
    pub(super) fn begin(&mut self, places: impl Iterator<Item = Slot>) -> OpenPlaces {
        places.map(|place| self.open(place)).collect()
    }

    /// Closes the places that [`begin`](Self::begin) returned.
    pub(super) fn end(&mut self, places: &[Slot]) {
        for place in places {
            self.close(place);
        }
    }

    /// Returns whether a write under way may change what a subject stands for.
    pub(super) fn matches(&self, keys: &Keys, subject: SubjectRef<'_>) -> bool {
        let (mut places, mut globs) = (keys.places.iter(), self.globs.iter());
        self.everywhere > 0
            || (!self.keys.is_empty() && places.any(|key| self.keys.contains_key(key)))
            || globs.any(|(placed, _)| placed.matches(keys, subject))
    }

    fn open(&mut self, place: Slot) -> Slot {
        let place = match place {
            Slot::Glob(glob) if !self.has_room_for(&glob) => glob.coarse_place(),
            place => place,
        };
        match &place {
            Slot::Everywhere => self.everywhere += 1,
            Slot::Key(key) => *self.keys.entry(*key).or_default() += 1,
            Slot::Glob(glob) => match self.find(glob) {
                Some(at) => self.globs[at].1 += 1,
                None => self.globs.push((glob.clone(), 1)),
            },
        }
        place
    }

    fn close(&mut self, place: &Slot) {
        match place {
            Slot::Everywhere => self.everywhere -= 1,
            Slot::Key(key) => {
                if let Entry::Occupied(mut open) = self.keys.entry(*key) {
                    *open.get_mut() -= 1;
                    if *open.get() == 0 {
                        open.remove();
                    }
                }
            }
            Slot::Glob(glob) => {
                if let Some(at) = self.find(glob) {
                    self.globs[at].1 -= 1;
                    if self.globs[at].1 == 0 {
                        self.globs.swap_remove(at);
                    }
                }
            }
        }
    }

    fn has_room_for(&self, glob: &PlacedGlob) -> bool {
        self.globs.len() < MAX_GLOBS || self.find(glob).is_some()
    }

    fn find(&self, glob: &PlacedGlob) -> Option<usize> {
        self.globs.iter().position(|(known, _)| known.is(glob))
    }
}
