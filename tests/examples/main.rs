//! The programs in `examples/`, built, started and used as their readers would.
//!
//! `cargo test` builds them first; with `cargo test --test examples` alone, run
//! `cargo build --examples` before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod proxy;
mod proxy_admin;
mod proxy_failures;
mod proxy_messages;
mod quickstart;
