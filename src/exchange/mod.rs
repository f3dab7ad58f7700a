//! One request's journey: from the policy it comes under to the response it is given.

mod admit;
mod call;
mod candidate;
mod collapse;
mod commit;
mod conditions;
mod context;
mod detached;
mod dispatch;
mod fetch;
mod fill;
mod foresee;
mod judge;
mod lead;
mod lookup;
mod reentrancy;
mod replay;
mod request;
mod respond;
mod retry;
mod validate;
mod warming;
mod write;

pub(crate) use context::Mount;
pub(crate) use dispatch::{Progress, ProgressProjection, dispatch};
pub(crate) use foresee::{Foreseen, foresee};
pub(crate) use respond::pass;
pub(crate) use warming::Warming;
pub(crate) use write::invalidate_and_pass;
