//! The places that writes under way hold open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use smallvec::SmallVec;

use super::index::MAX_GLOBS;
use super::keys::{Keys, PlacedGlob, Placement};
use crate::key::KeyHasher;
use crate::target::SubjectRef;

/// Places that a write holds open.
pub(super) type OpenPlacements = SmallVec<[Placement; 4]>;

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
    pub(super) fn begin(&mut self, places: impl Iterator<Item = Placement>) -> OpenPlacements {
        places.map(|place| self.open(place)).collect()
    }

    /// Closes the places that [`begin`](Self::begin) returned.
    pub(super) fn end(&mut self, places: &[Placement]) {
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

    fn open(&mut self, place: Placement) -> Placement {
        let place = match place {
            Placement::Glob(glob) if !self.has_room_for(&glob) => glob.coarse_place(),
            place => place,
        };
        match &place {
            Placement::Everywhere => self.everywhere += 1,
            Placement::Key(key) => *self.keys.entry(*key).or_default() += 1,
            Placement::Glob(glob) => match self.find(glob) {
                Some(at) => self.globs[at].1 += 1,
                None => self.globs.push((glob.clone(), 1)),
            },
        }
        place
    }

    fn close(&mut self, place: &Placement) {
        match place {
            Placement::Everywhere => self.everywhere -= 1,
            Placement::Key(key) => {
                if let Entry::Occupied(mut open) = self.keys.entry(*key) {
                    *open.get_mut() -= 1;
                    if *open.get() == 0 {
                        open.remove();
                    }
                }
            }
            Placement::Glob(glob) => {
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
