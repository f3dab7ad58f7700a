//! Questions of operators: what is stored, what an invalidation would hit, and what would happen to a
//! request. No request passes through here.

mod explain;
mod list;
mod would_evict;

pub use explain::Explanation;
pub(crate) use explain::explain;
pub(crate) use list::entries;
pub use list::{EntryFilter, EntryInfo, EntryOrder, EntryPage, EntryState, KeyInfo};
pub use would_evict::WouldEvict;
pub(crate) use would_evict::would_evict;
