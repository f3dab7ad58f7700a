//! What is behind the proxy: pages that come in versions, and what each version looks like.
//!
//! Every byte of a page follows from its name, version and variant, so that a client needs nothing
//! but a body to tell whether it is whole and whose it is.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use crate::support::Dice;
use crate::support::ledger::{Audience, Ledger, Moment, Stale, Version};

const SHELVES: usize = 16;

/// Of writes and reads only the order counts.
const NO_TIME: Duration = Duration::ZERO;

/// The greatest body, in bytes.
const LARGEST: usize = 200 << 10;

pub(crate) const LANGUAGES: [&str; 3] = ["en", "de", "fr"];

static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Dice::new(1);
    let words = (0..1 << 17).flat_map(|_| random.number().to_le_bytes());
    words.collect()
});

/// A resource. An item is what is written; a view shows an item elsewhere, and a shelf changes with
/// each of the items that stand on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Item(usize),
    View(usize),
    Shelf(usize),
}

impl Page {
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let (kind, number) = path.strip_prefix('/')?.split_once('/')?;
        match kind {
            "items" => Some(Self::Item(number.parse().ok()?)),
            "views" => Some(Self::View(number.strip_suffix("/summary")?.parse().ok()?)),
            "shelves" => Some(Self::Shelf(number.parse().ok()?)),
            _ => None,
        }
    }

    fn number(self) -> usize {
        let (Self::Item(number) | Self::View(number) | Self::Shelf(number)) = self;
        number
    }

    pub(crate) fn varies(self) -> bool {
        self.number() % 4 == 1
    }

    pub(crate) fn has_validator(self) -> bool {
        self.number().is_multiple_of(3)
    }

    /// The variant of it that a client of this language is given.
    pub(crate) fn variant(self, language: &'static str) -> &'static str {
        if self.varies() { language } else { "-" }
    }

    /// All bytes of a version of it. Lengths run from some 10 bytes to 200 KiB, small ones as often
    /// as large ones.
    pub(crate) fn content(self, version: u64, variant: &str) -> Vec<u8> {
        let name = format!("{self} {version} {variant}\n");
        let seed = name.bytes().fold(0_u64, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let mut random = Dice::new(seed);
        let scale = 10 << random.below(15);
        let length = (scale + random.below(scale)).clamp(name.len(), LARGEST);
        let noise = &NOISE[random.below(NOISE.len() - LARGEST)..];
        let mut content = name.into_bytes();
        let rest = length - content.len();
        content.extend_from_slice(&noise[..rest]);
        content
    }

    pub(crate) fn etag(self, version: u64, variant: &str) -> String {
        format!("\"{self}.{version}.{variant}\"")
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(number) => write!(f, "/items/{number}"),
            Self::View(number) => write!(f, "/views/{number}/summary"),
            Self::Shelf(number) => write!(f, "/shelves/{number}"),
        }
    }
}

/// What a perfect cache would know of a variant.
#[derive(Debug, Default)]
struct Delivered {
    /// One more than the newest version that a client was given in whole.
    next: AtomicU64,
    at: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct World {
    items: usize,
    /// Of the items and then the shelves; acknowledged is what was answered, and the answer read to
    /// its end.
    versions: Ledger,
    /// For each page and language.
    delivered: Vec<Delivered>,
    /// When a response of a page was last broken off, in milliseconds.
    broken_at: Vec<AtomicU64>,
    broken: Mutex<HashSet<u64>>,
    calls: AtomicU64,
    pub(crate) reads: AtomicU64,
    /// Whether what is stored goes stale by itself within the run.
    ages: bool,
    began: Instant,
}

impl World {
    pub(crate) fn new(items: usize, ages: bool) -> Self {
        let pages = 2 * items + SHELVES;
        Self {
            items,
            versions: Ledger::new(items + SHELVES),
            delivered: (0..pages * LANGUAGES.len())
                .map(|_| Delivered::default())
                .collect(),
            broken_at: (0..pages).map(|_| AtomicU64::new(0)).collect(),
            broken: Mutex::default(),
            calls: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            ages,
            began: Instant::now(),
        }
    }

    pub(crate) fn cache_control(&self, page: Page) -> &'static str {
        match page.number() % 5 {
            0 if self.ages => "max-age=2, stale-while-revalidate=600",
            1 if self.ages => "max-age=2",
            _ => "max-age=600",
        }
    }

    pub(crate) fn shelf_of(&self, item: usize) -> usize {
        item % SHELVES
    }

    /// What the versions of a page are counted by.
    fn subject(&self, page: Page) -> usize {
        match page {
            Page::Item(number) | Page::View(number) => number,
            Page::Shelf(number) => self.items + number,
        }
    }

    /// What a write to an item changes: the item, and its shelf.
    fn touched(&self, item: usize) -> [usize; 2] {
        [Page::Item(item), Page::Shelf(self.shelf_of(item))].map(|page| self.subject(page))
    }

    fn index(&self, page: Page) -> usize {
        match page {
            Page::Item(number) => number,
            Page::View(number) => self.items + number,
            Page::Shelf(number) => 2 * self.items + number,
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub(crate) fn current(&self, page: Page) -> u64 {
        self.versions.current(self.subject(page))
    }

    /// Writes an item, and returns its new version, which is that of its shelf as well.
    pub(crate) fn write(&self, item: usize) -> Version {
        self.versions.write(&self.touched(item), NO_TIME)
    }

    pub(crate) fn acknowledge(&self, item: usize, version: Version) {
        let touched = self.touched(item);
        self.versions
            .acknowledge(Audience::Everyone, &touched, version, NO_TIME);
    }

    /// Returns what a read that begins now is judged by.
    pub(crate) fn moment(&self) -> Moment {
        self.versions.moment(NO_TIME)
    }

    pub(crate) fn judge(&self, page: Page, version: Version, asked: Moment) -> Result<(), Stale> {
        let subject = self.subject(page);
        self.versions
            .judge(Audience::Everyone, subject, version, asked)
    }

    /// Numbers a response of the origin.
    pub(crate) fn call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes that the origin is about to break a response off.
    pub(crate) fn break_off(&self, page: Page, call: u64) {
        self.broken.lock().unwrap().insert(call);
        self.broken_at[self.index(page)].store(self.now() + 1, Ordering::SeqCst);
    }

    pub(crate) fn broke_off(&self, call: u64) -> bool {
        self.broken.lock().unwrap().contains(&call)
    }

    /// Whether the origin has broken a response of this page off lately, for a client that got
    /// nothing of it.
    pub(crate) fn broke_off_lately(&self, page: Page) -> bool {
        let at = self.broken_at[self.index(page)].load(Ordering::SeqCst);
        at > 0 && self.now().saturating_sub(at) < 10_000
    }

    fn slot(&self, page: Page, language: &str) -> &Delivered {
        let variants = LANGUAGES.iter().position(|&known| known == language);
        let variant = variants.filter(|_| page.varies()).unwrap_or(0);
        &self.delivered[self.index(page) * LANGUAGES.len() + variant]
    }

    /// Whether a cache that knows all could answer without asking: the current version has been
    /// delivered, and is fresh.
    pub(crate) fn could_be_stored(&self, page: Page, language: &str) -> bool {
        let slot = self.slot(page, language);
        let age = self.now().saturating_sub(slot.at.load(Ordering::SeqCst));
        let fresh = self.cache_control(page) != "max-age=2" || age < 2_000;
        fresh && slot.next.load(Ordering::SeqCst) == self.current(page) + 1
    }

    /// Notes that a client has the whole of a version.
    pub(crate) fn deliver(&self, page: Page, language: &str, version: u64, from_origin: bool) {
        let slot = self.slot(page, language);
        let known = slot.next.fetch_max(version + 1, Ordering::SeqCst);
        if known <= version || from_origin {
            slot.at.store(self.now(), Ordering::SeqCst);
        }
    }
}
