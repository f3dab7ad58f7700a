//! What happened to a request, and how the response tells: `Cache-Status`
//! ([RFC 9211](https://www.rfc-editor.org/rfc/rfc9211)) and `X-Cache`.

mod cache_status;
mod outcome;
mod show;
#[cfg(test)]
mod tests;

pub(crate) use cache_status::{CacheStatusWriter, ttl};
pub(crate) use outcome::{BypassReason, Miss, Outcome, Staleness};
pub(crate) use show::{Show, Told};
