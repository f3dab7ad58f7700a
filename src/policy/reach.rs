//! The reach of an invalidation: all that the rules of the routes count as the same.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::invalidate::{Invalidation, Selector};
use crate::pattern::{Pattern, Shape, canonical};
use crate::target::{KeyRule, REPLACED_KEY};

/// The key rules of a cache, as far as the reach of an invalidation depends on them.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The text with which the paths of each route begin whose policy replaces the key.
    replaced: Vec<Box<str>>,
    /// There is a layer with a policy of its own. Nobody knows its paths.
    unlisted: AtomicBool,
    /// Some layer with a policy of its own has a rule for queries.
    unlisted_query: AtomicBool,
    /// Some layer with a policy of its own replaces the key.
    unlisted_replacement: AtomicBool,
}

impl Reach {
    /// Adds the rule of a route.
    pub(super) fn add(&mut self, template: &str, rule: &KeyRule) {
        if rule.replacement.is_some() {
            let beginning = template.split('{').next().unwrap_or_default();
            let beginning = match beginning {
                "" => "".into(),
                beginning => canonical(beginning),
            };
            self.replaced.push(beginning.into());
        }
    }

    /// Adds the rule of a layer with a policy of its own.
    pub(super) fn note_unlisted(&self, rule: &KeyRule) {
        // Relaxed: the layer is made before it stores anything.
        self.unlisted.store(true, Ordering::Relaxed);
        if !rule.query.is_trivial() {
            self.unlisted_query.store(true, Ordering::Relaxed);
        }
        if rule.replacement.is_some() {
            self.unlisted_replacement.store(true, Ordering::Relaxed);
        }
    }

    /// Returns what these invalidations come to. `rule_of` finds the rule for reads of a path.
    pub(super) fn of<'a, 'r>(
        &self,
        what: &'a [Invalidation],
        rule_of: impl Fn(&str) -> Option<&'r KeyRule>,
    ) -> Cow<'a, [Invalidation]> {
        let mut all = Cow::Borrowed(what);
        for (at, one) in what.iter().enumerate() {
            let Selector::Pattern(pattern) = one.selector() else {
                continue;
            };
            if let Some(read) = self.read(pattern.shape(), &rule_of) {
                all.to_mut()[at] = one.with_selector(Selector::Pattern(Pattern::of_shape(read)));
            }
            if self.may_hit_replaced(pattern.shape(), &rule_of) {
                let replaced = one.with_selector(Selector::Tag(REPLACED_KEY.into()));
                all.to_mut().push(replaced);
            }
        }
        all
    }

    /// Reads a path with a query by the rule of its route; `None` where it stays as it is.
    fn read<'r>(
        &self,
        shape: &Shape,
        rule_of: impl Fn(&str) -> Option<&'r KeyRule>,
    ) -> Option<Shape> {
        let Shape::PathQuery(path, query) = shape else {
            return None;
        };
        if !path.starts_with('/') {
            return None;
        }
        let rule = rule_of(path).filter(|rule| !rule.query.is_trivial());
        let rules_differ = match rule {
            Some(_) => &self.unlisted,
            None => &self.unlisted_query,
        };
        if rules_differ.load(Ordering::Relaxed) {
            return Some(Shape::Path(path.clone()));
        }
        let query = rule?.query.canonical(query).unwrap_or_default();
        Some(Shape::PathQuery(path.clone(), query.into()))
    }

    /// Returns whether a GET of what this matches may be given a response whose key was replaced.
    fn may_hit_replaced<'r>(
        &self,
        shape: &Shape,
        rule_of: impl Fn(&str) -> Option<&'r KeyRule>,
    ) -> bool {
        let unlisted = self.unlisted_replacement.load(Ordering::Relaxed);
        if self.replaced.is_empty() && !unlisted {
            return false;
        }
        let Some(beginning) = shape.literal_beginning() else {
            return false;
        };
        let overlaps = |route: &str| route.starts_with(&*beginning) || beginning.starts_with(route);
        match shape {
            Shape::Everything => false,
            _ if unlisted => true,
            Shape::Path(path) | Shape::PathQuery(path, _) => {
                rule_of(path).is_some_and(|rule| rule.replacement.is_some())
            }
            _ => self.replaced.iter().any(|route| overlaps(route)),
        }
    }
}
