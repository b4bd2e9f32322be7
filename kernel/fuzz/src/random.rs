//! Numbers that are the same in every run.

use std::vec;

/// A source of numbers: a small generator, which its seed decides, or a list of bytes.
#[derive(Clone, Debug)]
pub struct Random(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The state of a generator (xorshift64*).
    Seeded(u64),
    /// What is left of the bytes.
    Bytes(vec::IntoIter<u8>),
}

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
        Self(Source::Seeded(mix(both.wrapping_add(0x9e37_79b9_7f4a_7c15)) | 1))
    }

    /// Takes the numbers from bytes, one or more for each number as its bound needs. Behind the last all are 0.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes(Vec::from(bytes).into_iter()))
    }

    /// Whether bytes were given, and none is left.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        matches!(&self.0, Source::Bytes(bytes) if bytes.as_slice().is_empty())
    }

    /// Returns a number below `bound`, uniform enough.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let number = match &mut self.0 {
            Source::Seeded(state) => {
                *state ^= *state >> 12;
                *state ^= *state << 25;
                *state ^= *state >> 27;
                (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
            }
            Source::Bytes(bytes) => {
                let count = (u32::BITS - (bound - 1).leading_zeros()).div_ceil(8);
                (0..count).fold(0, |number, _| number << 8 | u32::from(bytes.next().unwrap_or(0)))
            }
        };
        number % bound
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen failing with two bytes for each number.
    #[test]
    fn numbers_of_bytes_take_no_more_bytes_than_their_bounds_need() {
        let mut random = Random::of_bytes(&[7, 9, 1, 2, 255, 255, 3]);
        assert_eq!(random.below(1), 0, "no byte");
        assert_eq!([random.below(256), random.below(4)], [7, 1]);
        assert_eq!(random.below(257), 0x102 % 257);
        assert_eq!(random.below(1 << 16), 0xffff);
        assert!(!random.is_used_up());
        assert_eq!(random.below(1 << 16), 0x300, "half of it is behind the last byte");
        assert!(random.is_used_up() && random.below(9) == 0);
        assert!(!Random::new(0, 0).is_used_up());
    }
}
