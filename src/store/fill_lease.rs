//! Which of several nodes makes the fetch for a key.

use std::fmt;

/// Who is to call the handler.
#[derive(Debug)]
pub enum Claim {
    /// This node. What is in the box is dropped when the response has been stored, or is not going to
    /// be.
    Granted(Option<Box<dyn Granted>>),
    /// Another node has called it: what it stored can be looked up.
    Elsewhere,
}

/// The right to call the handler on behalf of other nodes, until it is dropped.
pub trait Granted: fmt::Debug + Send + Sync {
    /// Says that the response is not for others: whoever waits had better call the handler itself.
    fn not_for_others(&self);
}
