//! What a request asks for, in the words of its route: authority, path, query and partition.
//!
//! This is the one place that says whether two requests ask for the same thing. A stored response's
//! key and the subject that invalidations are matched against are both made here.

mod identity;
mod rule;
mod subject;

pub(crate) use identity::Identity;
pub(crate) use rule::{KeyPart, KeyRule, Target, write_value};
pub(crate) use subject::{Subject, SubjectRef};
