//! Pages that come in versions, what each version looks like, and who was told of it when.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::Dice;

pub(crate) const ITEMS: usize = 8;
const SHELVES: usize = 2;

pub(crate) const LANGUAGES: [&str; 2] = ["en", "de"];

/// What a write to an item evicts beside the item itself. Shelves are evicted by their group.
pub(crate) const EVICTIONS: [&str; 2] = [
    "/items/{id}=/views/{id}/**",
    "/items/{id}=/search/*/by-{id}/hits",
];

/// A resource. An item is what is written; a view and a search show an item elsewhere, and a shelf
/// changes with each of the items that stand on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Item(usize),
    View(usize),
    Search(usize),
    Shelf(usize),
}

impl Page {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of_items = (0..ITEMS).flat_map(Self::of_item);
        of_items.chain((0..SHELVES).map(Self::Shelf))
    }

    fn of_item(item: usize) -> [Self; 3] {
        [Self::Item(item), Self::View(item), Self::Search(item)]
    }

    /// Any of the pages that show an item.
    pub(crate) fn showing(item: usize, random: &mut Dice) -> Self {
        match random.below(7) {
            0 => Self::Shelf(shelf_of(item)),
            kind => Self::of_item(item)[kind % 3],
        }
    }

    pub(crate) fn parse(path: &str) -> Option<Self> {
        let page = Self::all().find(|page| page.to_string() == path)?;
        Some(page)
    }

    pub(crate) fn varies(self) -> bool {
        matches!(self, Self::View(_))
    }

    /// Whether it goes stale by itself, and is then confirmed by its validator.
    pub(crate) fn ages(self) -> bool {
        matches!(self, Self::Search(item) if item % 2 == 0)
    }

    /// The variant of it that a client of this language is given.
    pub(crate) fn variant(self, language: &str) -> &str {
        if self.varies() { language } else { "-" }
    }

    /// All bytes of a version of it, from some 10 bytes to some KiB.
    pub(crate) fn content(self, version: u64, variant: &str) -> String {
        let line = format!("{self} {variant} {version}\n");
        let times = 1 + Dice::new(version + self.subject() as u64).below(200);
        line.repeat(times)
    }

    pub(crate) fn etag(self, version: u64, variant: &str) -> String {
        format!("\"{self}.{variant}.{version}\"")
    }

    /// What its versions are counted by.
    fn subject(self) -> usize {
        match self {
            Self::Item(item) | Self::View(item) | Self::Search(item) => item,
            Self::Shelf(shelf) => ITEMS + shelf,
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(item) => write!(f, "/items/{item}"),
            Self::View(item) => write!(f, "/views/{item}/summary"),
            Self::Search(item) => write!(f, "/search/all/by-{item}/hits"),
            Self::Shelf(shelf) => write!(f, "/shelves/{shelf}"),
        }
    }
}

pub(crate) fn shelf_of(item: usize) -> usize {
    item % SHELVES
}

/// Versions in the order in which clients were told that they are written, each later one greater.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(u64, Instant)>>);

impl Told {
    fn tell(&self, version: u64) {
        let mut told = self.0.lock().unwrap();
        if told.last().is_none_or(|&(last, _)| last < version) {
            told.push((version, Instant::now()));
        }
    }

    /// For how long at least a version had been outdated at an instant; nothing where it had not.
    fn outdated(&self, version: u64, at: Instant) -> Option<Duration> {
        let told = self.0.lock().unwrap();
        let next = told.partition_point(|&(known, _)| known <= version);
        let &(_, since) = told.get(next)?;
        at.checked_duration_since(since)
    }
}

/// What the answer to a write says of other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vouched {
    /// Nothing: its invalidation is pending.
    Pending,
    /// They will know when they ask.
    Acknowledged,
    /// They know.
    Waited,
}

/// How a version that was read compares with what the reader was owed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// For how long at least a write that contradicts it had been acknowledged, by whatever node,
    /// when the read began.
    pub(crate) acknowledged: Option<Duration>,
    /// The same for writes that waited until no lease could be from before them.
    pub(crate) waited: Option<Duration>,
    /// For how long at least the node itself had answered such a write, acknowledged or not.
    pub(crate) own: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct World {
    current: Vec<AtomicU64>,
    acknowledged: Vec<Told>,
    waited: Vec<Told>,
    /// For each node.
    answered: Vec<Vec<Told>>,
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let subjects = ITEMS + SHELVES;
        let told = || (0..subjects).map(|_| Told::default()).collect();
        Self {
            current: (0..subjects).map(|_| AtomicU64::new(1)).collect(),
            acknowledged: told(),
            waited: told(),
            answered: (0..nodes).map(|_| told()).collect(),
        }
    }

    pub(crate) fn current(&self, page: Page) -> u64 {
        self.current[page.subject()].load(Ordering::SeqCst)
    }

    /// Writes an item, and returns its new version and that of its shelf.
    pub(crate) fn write(&self, item: usize) -> (u64, u64) {
        let bump = |page: Page| self.current[page.subject()].fetch_add(1, Ordering::SeqCst) + 1;
        (bump(Page::Item(item)), bump(Page::Shelf(shelf_of(item))))
    }

    /// Notes that a node has answered a write, and how far it vouches for the others.
    pub(crate) fn answer(
        &self,
        node: usize,
        item: usize,
        (version, shelved): (u64, u64),
        vouched: Vouched,
    ) {
        let subjects = [Page::Item(item), Page::Shelf(shelf_of(item))].map(Page::subject);
        for (subject, version) in subjects.into_iter().zip([version, shelved]) {
            self.answered[node][subject].tell(version);
            if vouched >= Vouched::Acknowledged {
                self.acknowledged[subject].tell(version);
            }
            if vouched >= Vouched::Waited {
                self.waited[subject].tell(version);
            }
        }
    }

    /// Judges a version that a read got which began at an instant.
    pub(crate) fn lag(&self, node: usize, page: Page, version: u64, began: Instant) -> Lag {
        let subject = page.subject();
        Lag {
            acknowledged: self.acknowledged[subject].outdated(version, began),
            waited: self.waited[subject].outdated(version, began),
            own: self.answered[node][subject].outdated(version, began),
        }
    }
}
