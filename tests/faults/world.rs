//! Pages that come in versions, what each version looks like, and which writes were acknowledged when.

use std::fmt;
use std::time::{Duration, Instant};

use crate::support::Dice;
use crate::support::ledger::{Audience, Ledger, Moment, Version};

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
    versions: Ledger,
    began: Instant,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            versions: Ledger::new(ITEMS + SHELVES),
            began: Instant::now(),
        }
    }

    pub(crate) fn current(&self, page: Page) -> Version {
        self.versions.current(page.subject())
    }

    /// Writes an item, and returns its new version, which is that of its shelf as well.
    pub(crate) fn write(&self, item: usize) -> Version {
        self.versions.write(&touched(item), self.began.elapsed())
    }

    /// Notes that a node has answered a write, and how far it vouches for the others.
    pub(crate) fn answer(&self, node: usize, item: usize, version: Version, vouched: Vouched) {
        let promise = |audience| {
            let now = self.began.elapsed();
            self.versions
                .acknowledge(audience, &touched(item), version, now);
        };
        promise(Audience::Through(node));
        if vouched >= Vouched::Acknowledged {
            promise(Audience::Everyone);
        }
        if vouched >= Vouched::Waited {
            promise(Audience::Leaseholders);
        }
    }

    /// Returns what a read that begins now is judged by.
    pub(crate) fn moment(&self) -> Moment {
        self.versions.moment(self.began.elapsed())
    }

    /// Judges a version that a read got.
    pub(crate) fn lag(&self, node: usize, page: Page, version: Version, asked: Moment) -> Lag {
        let outdated = |audience| {
            self.versions
                .outdated(audience, page.subject(), version, asked)
        };
        Lag {
            acknowledged: outdated(Audience::Everyone),
            waited: outdated(Audience::Leaseholders),
            own: outdated(Audience::Through(node)),
        }
    }
}

/// What a write to an item changes.
fn touched(item: usize) -> [usize; 2] {
    [Page::Item(item), Page::Shelf(shelf_of(item))].map(Page::subject)
}
