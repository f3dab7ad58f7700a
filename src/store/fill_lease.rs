//! Which of several nodes makes the fetch for a key.

use std::fmt;

/// A store's answer to [`Store::claim`](crate::Store::claim): who makes the fetch for a key.
#[derive(Debug)]
#[non_exhaustive]
pub enum FillLease {
    /// This node makes the fetch, and no other waits for it: the answer of a store that does not
    /// coordinate nodes, or cannot at present.
    Unshared,
    /// This node makes the fetch on behalf of others, which wait until the lease is dropped. The
    /// layer drops it when the response has been stored, or is not going to be.
    Granted(Box<dyn GrantedLease>),
    /// Another node is making the fetch: ask again in a moment.
    Pending,
    /// Another node has made the fetch. What it stored can be looked up.
    Elsewhere,
}

/// The lease of a node that makes a fetch on behalf of others. It ends when it is dropped.
///
/// Whatever happens to the fetch, the layer drops the lease: when the client goes away, the handler
/// panics, or the body breaks off. A store bounds the time that a lease lasts all the same, for the
/// node may be killed.
pub trait GrantedLease: fmt::Debug + Send + Sync {
    /// Reports that the response is not for others: those who wait make their own fetch at once.
    ///
    /// Called before the lease is dropped, and more than once at times. Must not block.
    fn not_for_others(&self);
}
