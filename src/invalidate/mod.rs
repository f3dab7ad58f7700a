//! What makes stored responses unusable: positions in a log of invalidations.
//!
//! Every invalidation takes the next position in a [`Log`]. Every stored response, running fill and
//! refresh carries the position that was known *before* its handler was called. One predicate
//! judges them all: has anything that matches been logged after that position? Nothing else in this
//! crate may decide that a response is too old.
