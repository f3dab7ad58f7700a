//! Small, seeded randomness, so that every run sees the same accesses.

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to but not including 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

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

    pub fn draw(&self, random: &mut Random) -> u64 {
        let total = self.0.last().copied().unwrap_or_default();
        let drawn = random.unit() * total;
        self.0.partition_point(|sum| *sum < drawn) as u64
    }
}
