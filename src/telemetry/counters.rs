//! The counters, by route.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::status::{BypassReason, Miss, Outcome, StaleReason};

/// The place of a route among the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteId(u16);

/// How many templates are counted apart; those after them are counted together. It bounds what a
/// scrape is given, and what a backend for metrics has to keep.
const MOST_ROUTES: usize = 200;

/// The rows before those of the templates. A template begins with a slash, so none is taken for
/// another.
const ROWS: [&str; 4] = ["", "layer", "otherwise", "more"];

impl RouteId {
    /// Of what was passed by before its route was looked for, or has none.
    pub(crate) const NONE: Self = Self(0);
    /// Of all layers with a policy of their own.
    pub(crate) const LAYER: Self = Self(1);
    pub(crate) const OTHERWISE: Self = Self(2);
    const MORE: Self = Self(3);

    /// Returns the place of the template that was given so many places after the first.
    pub(crate) fn nth(template: usize) -> Self {
        Self::of_row(template.saturating_add(ROWS.len()))
    }

    fn of_row(row: usize) -> Self {
        match u16::try_from(row) {
            Ok(row) if usize::from(row) < ROWS.len() + MOST_ROUTES => Self(row),
            _ => Self::MORE,
        }
    }
}

/// Something that happens under a route and is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request waits for another one's handler call.
    Collapsed,
    /// A response was stored.
    Stored,
    /// A refresh began in the background.
    Refreshed,
}

/// The place of a counter in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CounterSlot(u8);

const STALE: u8 = 2;
const REVALIDATED: u8 = STALE + StaleReason::ALL.len() as u8;
const MISS: u8 = REVALIDATED + Miss::ALL.len() as u8;
const BYPASS: u8 = MISS + Miss::ALL.len() as u8;
const EVENTS: u8 = BYPASS + BypassReason::ALL.len() as u8;
const SLOTS: usize = EVENTS as usize + 3;

impl From<Outcome> for CounterSlot {
    fn from(outcome: Outcome) -> Self {
        Self(match outcome {
            Outcome::Hit => 0,
            Outcome::Unsatisfied => 1,
            Outcome::Stale(staleness) => STALE + staleness as u8,
            Outcome::Revalidated { why, .. } => REVALIDATED + why as u8,
            Outcome::Miss { why, .. } => MISS + why as u8,
            Outcome::Bypass(reason) => BYPASS + reason as u8,
        })
    }
}

impl From<Event> for CounterSlot {
    fn from(event: Event) -> Self {
        Self(EVENTS + event as u8)
    }
}

/// Returns every outcome that is counted apart.
pub(crate) fn outcomes() -> impl Iterator<Item = Outcome> {
    let revalidated = |why| Outcome::Revalidated {
        why,
        stored: true,
        collapsed: false,
    };
    let miss = |why| Outcome::Miss {
        why,
        stored: false,
        collapsed: false,
        detail: None,
    };
    [Outcome::Hit, Outcome::Unsatisfied]
        .into_iter()
        .chain(StaleReason::ALL.map(Outcome::Stale))
        .chain(Miss::ALL.map(revalidated))
        .chain(Miss::ALL.map(miss))
        .chain(BypassReason::ALL.map(Outcome::Bypass))
}

/// The counters of one route.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: RouteId,
    pub(crate) label: Box<str>,
    counters: [AtomicU64; SLOTS],
}

impl Row {
    fn new((row, label): (usize, &str)) -> Arc<Self> {
        Arc::new(Self {
            id: RouteId::of_row(row),
            label: label.into(),
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    #[inline]
    pub(crate) fn count(&self, slot: impl Into<CounterSlot>) {
        // Relaxed: a count, which orders nothing.
        self.counters[usize::from(slot.into().0)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, slot: impl Into<CounterSlot>) -> u64 {
        self.counters[usize::from(slot.into().0)].load(Ordering::Relaxed)
    }

    /// Returns whether this is the row of a template.
    pub(crate) fn is_of_template(&self) -> bool {
        self.label.starts_with('/')
    }

    /// Returns whether anything was counted.
    pub(crate) fn is_in_use(&self) -> bool {
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 0;
        self.counters.iter().any(counted)
    }
}

/// A row for each route.
#[derive(Clone, Debug)]
pub(crate) struct Rows(Arc<[Arc<Row>]>);

impl Default for Rows {
    fn default() -> Self {
        Self::new([])
    }
}

impl Rows {
    /// Makes the rows of all templates.
    pub(crate) fn new<'a>(templates: impl IntoIterator<Item = &'a str>) -> Self {
        let templates = templates.into_iter().take(MOST_ROUTES);
        let labels = ROWS.into_iter().chain(templates);
        Self(labels.enumerate().map(Row::new).collect())
    }

    pub(crate) fn row(&self, route: RouteId) -> &Arc<Row> {
        let rest = || &self.0[usize::from(RouteId::MORE.0)];
        self.0.get(usize::from(route.0)).unwrap_or_else(rest)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().map(|row| &**row)
    }

    pub(crate) fn sum(&self, slot: impl Into<CounterSlot>) -> u64 {
        let slot = slot.into();
        self.iter().map(|row| row.get(slot)).sum()
    }
}

/// Counts by a reason that is one of a few words known when this was compiled.
#[derive(Debug)]
pub(crate) struct Reasons([(OnceLock<&'static str>, AtomicU64); 48]);

impl Default for Reasons {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Default::default()))
    }
}

impl Reasons {
    pub(crate) fn count(&self, reason: &'static str) {
        let known = |(name, _): &&(OnceLock<_>, _)| *name.get_or_init(|| reason) == reason;
        if let Some((_, count)) = self.0.iter().find(known) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0
            .iter()
            .filter_map(|(name, count)| Some((*name.get()?, count.load(Ordering::Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_counter_of_its_own() {
        for (place, outcome) in outcomes().enumerate() {
            assert_eq!(
                usize::from(CounterSlot::from(outcome).0),
                place,
                "{outcome:?}"
            );
        }
        assert_eq!(outcomes().count(), usize::from(EVENTS));
        assert_eq!(
            usize::from(CounterSlot::from(Event::Refreshed).0),
            SLOTS - 1
        );
    }

    #[test]
    fn templates_over_the_bound_are_counted_together() {
        let templates: Vec<String> = (0..MOST_ROUTES + 2).map(|n| format!("/{n}")).collect();
        let rows = Rows::new(templates.iter().map(String::as_str));
        for n in 0..templates.len() {
            rows.row(RouteId::nth(n)).count(Outcome::Hit);
        }
        let label = |n| &*rows.row(RouteId::nth(n)).label;
        assert_eq!((label(0), label(MOST_ROUTES - 1)), ("/0", "/199"));
        assert_eq!((label(MOST_ROUTES), label(usize::MAX)), ("more", "more"));
        let more = rows.iter().find(|row| &*row.label == "more").unwrap();
        assert_eq!(more.get(Outcome::Hit), 2);
        assert_eq!(rows.sum(Outcome::Hit), templates.len() as u64);
    }

    #[test]
    fn reasons_are_counted_up_to_a_bound() {
        let reasons = Reasons::default();
        let names: Vec<&'static str> = (0..60).map(|n| &*format!("r{n}").leak()).collect();
        for name in names.iter().chain(&names[..1]) {
            reasons.count(name);
        }
        assert_eq!(reasons.iter().count(), 48);
        assert_eq!(reasons.iter().next(), Some(("r0", 2)));
    }
}
