//! Helps for tests of services that use this crate, and of stores made for it.

pub mod store_contract;

pub use crate::clock::ManualClock;
