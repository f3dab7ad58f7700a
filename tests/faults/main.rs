//! Redis in trouble.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/fault_proxy.rs"]
mod fault_proxy;
#[path = "../support/redis/mod.rs"]
mod redis;

mod machinery;
