//! The target of a request, in the words of its route: authority, path, query and partition.
//!
//! This is the one place that says whether two requests ask for the same thing. A stored response's
//! key, the subject that invalidations are matched against, the invalidation of a URI and the eviction
//! of a write's own path are all made from a [`Target`].

mod identity;
mod layout;
mod query;
mod request;
mod rule;
mod subject;
#[cfg(test)]
mod tests;

pub(crate) use identity::Identity;
pub(crate) use layout::KeyLayout;
#[cfg(any(fuzzing, test))]
pub(crate) use query::QueryRule;
pub(crate) use request::{Target, original_uri, other_reading};
pub(crate) use rule::{KeyPart, KeyRule, REPLACED_KEY};
pub(crate) use subject::{Subject, SubjectRef};
