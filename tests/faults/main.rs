//! Redis in trouble: three processes of the reverse proxy over one store that is killed, stalled,
//! emptied, cut off and replaced, while clients read and write through all of them.
//!
//! Whatever happens to the store, no read that began after a write was acknowledged may show what
//! was there before (or, through a node with a lease, for no longer than that), no body may be
//! another's, nothing may fail, hang, or take longer than the handler and the store's deadline; and
//! when the store is back, so are the hits.
//!
//! `FAULT_SECONDS=600 SEED=7 cargo test --all-features --test faults -- --nocapture` injects faults
//! for so long in each scenario; `cargo build --examples --all-features` comes first.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod driver;
mod machinery;
mod nodes;
mod oracle;
mod origin;
mod record;
mod report;
mod scenarios;
mod site;
mod world;
