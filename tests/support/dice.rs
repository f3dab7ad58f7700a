//! Numbers that depend on a seed alone, so that a run can be had again.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program of tests uses its part of it"
)]

use fastrand::Rng;

#[derive(Clone, Debug)]
pub struct Dice(Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    pub fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Returns others that depend on the same seed.
    pub fn split(&mut self) -> Self {
        Self(self.0.fork())
    }
}
