//! Patterns and subjects as hashes: where an invalidation is recorded, and where to look for those
//! that match a subject.
//!
//! Of paths and tags only 64-bit hashes are kept, seeded anew for each log. Two that collide share
//! their invalidations, which can invalidate too much but never too little, and a log takes the
//! same room whatever is recorded in it.

use std::cell::OnceCell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use smallvec::SmallVec;

use super::invalidation::{Invalidation, Selector};
use super::sketch::TextSketch;
use crate::pattern::{Glob, SEPARATORS, Shape};
use crate::target::SubjectRef;

/// Subtrees, and the parts of a value's key, are distinguished down to this many segments. A deeper one
/// is recorded by its first ones, so that a path of thousands of segments costs no thousands of
/// look-ups.
const MAX_DEPTH: usize = 32;

/// A longer glob is recorded by its literal beginning: what is captured from requests must not
/// decide how much memory a log takes.
const MAX_GLOB_LEN: usize = 1024;

/// A longer path and query are not matched against globs: each counts as matching. Hundreds of them
/// times a URI of no bound would be time of no bound.
const MAX_MATCHED_LEN: usize = 8 * 1024;

/// The kind of text that is hashed, so that a path and a tag of the same text differ.
#[derive(Clone, Copy)]
#[repr(u8)]
enum HashDomain {
    Path,
    PathQuery,
    Children,
    Subtree,
    Tag,
    Glob,
    KeyPrefix,
}

/// Where an invalidation is recorded.
#[derive(Clone, Debug)]
pub(super) enum Placement {
    Everywhere,
    Key(u64),
    Glob(PlacedGlob),
}

/// A glob, with its hash and the place to record it when there are too many.
#[derive(Clone, Debug)]
pub(super) struct PlacedGlob {
    id: u64,
    glob: Arc<Glob>,
    /// The key of the glob's literal beginning; `None` if it has none.
    coarse: Option<u64>,
    /// The runs that stand in all that matches.
    sketch: TextSketch,
}

impl PlacedGlob {
    /// Returns whether both are the same glob, in most cases by their hashes. A collision must not
    /// pass: the other glob would not be recorded at all.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.glob == other.glob
    }

    /// Returns the runs that stand in all that matches.
    pub(super) fn sketch(&self) -> TextSketch {
        self.sketch
    }

    /// Returns whether this matches the subject that these are the keys of.
    pub(super) fn matches(&self, keys: &Keys, subject: SubjectRef<'_>) -> bool {
        self.sketch.may_be_in(keys.sketch(subject)) && self.matches_all(keys, subject)
    }

    /// Does what [`matches`](Self::matches) does where the sketches were compared already.
    pub(super) fn matches_all(&self, keys: &Keys, subject: SubjectRef<'_>) -> bool {
        keys.too_long || self.glob.matches(subject.path, subject.query)
    }

    /// Returns the place of all that begins as the glob does.
    pub(super) fn coarse_place(&self) -> Placement {
        self.coarse.map_or(Placement::Everywhere, Placement::Key)
    }
}

/// Where to look for the invalidations that match a subject.
#[derive(Debug)]
pub(super) struct Keys {
    /// The keys under which they can be recorded.
    pub(super) places: SmallVec<[u64; 24]>,
    /// The sketch of its path and query, made when there are globs.
    sketch: OnceCell<TextSketch>,
    /// Path and query are longer than what is matched.
    too_long: bool,
}

impl Keys {
    /// Returns the sketch of the subject that these are the keys of.
    pub(super) fn sketch(&self, subject: SubjectRef<'_>) -> &TextSketch {
        self.sketch.get_or_init(|| TextSketch::of_subject(subject))
    }
}

/// The hash of one log.
#[derive(Clone, Debug, Default)]
pub(super) struct Seed(RandomState);

impl Seed {
    pub(super) fn place(&self, invalidation: &Invalidation) -> Placement {
        let pattern = match &invalidation.selector {
            Selector::Tag(tag) => return Placement::Key(self.key(HashDomain::Tag, tag)),
            Selector::Pattern(pattern) => pattern,
        };
        match pattern.shape() {
            Shape::Everything => Placement::Everywhere,
            Shape::Path(path) => Placement::Key(self.key(HashDomain::Path, path)),
            Shape::PathQuery(path, query) => Placement::Key(self.path_query(path, query)),
            Shape::Children(parent) => Placement::Key(self.key(HashDomain::Children, parent)),
            Shape::Subtree(root) => Placement::Key(self.subtree(root)),
            Shape::KeyPrefix(namespace, prefix) => {
                Placement::Key(self.key_prefix(namespace, prefix))
            }
            Shape::Glob(glob) => self.place_glob(glob),
        }
    }

    fn place_glob(&self, glob: &Arc<Glob>) -> Placement {
        let mut hasher = self.hasher(HashDomain::Glob);
        glob.hash(&mut hasher);
        let coarse = |prefix: String| match glob.has_literal_path() {
            true => self.key(HashDomain::Path, &prefix),
            false => self.subtree(&prefix),
        };
        let placed = PlacedGlob {
            id: hasher.finish(),
            glob: glob.clone(),
            coarse: glob.literal_prefix().map(coarse),
            sketch: TextSketch::of_glob(glob),
        };
        match glob.len() > MAX_GLOB_LEN {
            true => placed.coarse_place(),
            false => Placement::Glob(placed),
        }
    }

    pub(super) fn keys(&self, subject: SubjectRef<'_>) -> Keys {
        let (path, query) = (subject.path, subject.query.unwrap_or(""));
        let mut places = SmallVec::new();
        places.push(self.key(HashDomain::Path, path));
        places.push(self.path_query(path, query));

        if let Some((parent, _)) = path.rsplit_once('/') {
            places.push(self.key(HashDomain::Children, parent));
        }
        match path.starts_with('/') {
            true => self.subtrees(path, |key| places.push(key)),
            false => self.key_prefixes(path, query, |key| places.push(key)),
        }

        places.extend(
            subject
                .tags
                .iter()
                .map(|tag| self.key(HashDomain::Tag, tag)),
        );

        Keys {
            places,
            sketch: OnceCell::new(),
            too_long: path.len() + query.len() > MAX_MATCHED_LEN,
        }
    }

    /// Hashes the subtree of a path and those that hold it, outermost first.
    fn subtrees(&self, path: &str, mut found: impl FnMut(u64)) {
        let mut hasher = self.hasher(HashDomain::Subtree);
        for segment in path.split('/').skip(1).take(MAX_DEPTH) {
            hasher.write(segment.as_bytes());
            found(hasher.finish());
        }
    }

    fn subtree(&self, root: &str) -> u64 {
        let mut innermost = 0;
        self.subtrees(root, |key| innermost = key);
        innermost
    }

    /// Hashes what a value's key begins with, part by part, shortest first.
    fn key_prefixes(&self, namespace: &str, key: &str, mut found: impl FnMut(u64)) {
        let mut hasher = self.hasher(HashDomain::KeyPrefix);
        hasher.write(namespace.as_bytes());
        let parts = key.split_inclusive(SEPARATORS);
        for part in parts
            .filter(|part| part.ends_with(SEPARATORS))
            .take(MAX_DEPTH)
        {
            hasher.write(part.as_bytes());
            found(hasher.finish());
        }
    }

    fn key_prefix(&self, namespace: &str, prefix: &str) -> u64 {
        let mut longest = 0;
        self.key_prefixes(namespace, prefix, |key| longest = key);
        longest
    }

    fn key(&self, kind: HashDomain, text: &str) -> u64 {
        let mut hasher = self.hasher(kind);
        hasher.write(text.as_bytes());
        hasher.finish()
    }

    fn path_query(&self, path: &str, query: &str) -> u64 {
        let mut hasher = self.hasher(HashDomain::PathQuery);
        hasher.write(path.as_bytes());
        hasher.write(query.as_bytes());
        hasher.finish()
    }

    fn hasher(&self, kind: HashDomain) -> impl Hasher + use<> {
        let mut hasher = self.0.build_hasher();
        hasher.write_u8(kind as u8);
        hasher
    }
}
