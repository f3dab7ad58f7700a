//! HTTP caching as pure functions of header fields and instants, a file for each chapter.

pub(crate) mod age;
pub(crate) mod cache_control;
pub(crate) mod credentials;
pub(crate) mod date;
pub(crate) mod entity_tag;
pub(crate) mod freshness;
pub(crate) mod invalidation;
pub(crate) mod no_vary_search;
pub(crate) mod partial;
pub(crate) mod preconditions;
pub(crate) mod range;
pub(crate) mod reuse;
pub(crate) mod storable;
mod structured;
pub(crate) mod targeted;
pub(crate) mod validation;
pub(crate) mod vary;
pub(crate) mod weighted;
