//! The outcome of a request, and how its response shows it: `Cache-Status`
//! ([RFC 9211](https://www.rfc-editor.org/rfc/rfc9211)) and `X-Cache`.

mod cache_status;
mod headers;
mod outcome;
#[cfg(test)]
mod tests;

pub(crate) use cache_status::{CacheStatusWriter, ttl};
pub(crate) use headers::{StatusHeaders, StatusParameters};
pub(crate) use outcome::{BypassReason, Miss, Outcome, StaleReason};
