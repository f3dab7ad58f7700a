//! Keys drawn by popularity, the same in every run.

use fastrand::Rng;

/// Draws numbers from 0 by Zipf's law.
pub struct Zipf(Vec<f64>);

impl Zipf {
    pub fn new(keys: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut sums = Vec::with_capacity(keys);
        for rank in 1..=keys {
            sum += (rank as f64).powf(-exponent);
            sums.push(sum);
        }
        Self(sums)
    }

    pub fn draw(&self, random: &mut Rng) -> u64 {
        let total = self.0.last().copied().unwrap_or_default();
        let drawn = random.f64() * total;
        self.0.partition_point(|sum| *sum < drawn) as u64
    }
}
