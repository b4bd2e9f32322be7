//! Numbers that are the same in every run.

/// A small generator of numbers (xorshift64*), which its seed decides.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Makes the generator of one history of a seed. Neighbouring seeds and histories have nothing in common.
    #[must_use]
    pub fn new(seed: u64, history: u64) -> Self {
        // The finalizer of splitmix64, once for each number.
        let mix = |number: u64| {
            let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            number ^ number >> 31
        };
        let both = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_add(history);
        Self(mix(both.wrapping_add(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// Returns a number below `bound`, uniform enough.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32;
        high % bound
    }

    /// Returns true once in `times`.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// Returns one of the `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }
}
