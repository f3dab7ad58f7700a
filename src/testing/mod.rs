//! Helps for tests of services that use this crate.

pub use crate::clock::ManualClock;
