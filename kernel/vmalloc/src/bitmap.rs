//! Runs of set bits in the 512 bits of a vmap block.

use crate::platform::BLOCK_PAGES;
use core::ops::{BitAnd, Shr};

const WORDS: usize = BLOCK_PAGES / 64;

/// 512 bits, one for each page of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bitmap([u64; WORDS]);

impl Bitmap {
    pub const FULL: Self = Self([u64::MAX; WORDS]);

    #[inline]
    pub fn get(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// Whether all of `count` bits from `first` are set.
    pub fn is_set(&self, first: usize, count: usize) -> bool {
        let mut all = true;
        let mut copy = *self;
        copy.for_each_word(first, count, |word, mask| all &= *word & mask == mask);
        all
    }

    /// Sets `count` bits from `first`.
    #[inline]
    pub fn set(&mut self, first: usize, count: usize) {
        self.for_each_word(first, count, |word, mask| {
            debug_assert_eq!(*word & mask, 0, "bits set twice");
            *word |= mask;
        });
    }

    /// Clears `count` bits from `first`.
    #[inline]
    pub fn clear(&mut self, first: usize, count: usize) {
        self.for_each_word(first, count, |word, mask| {
            debug_assert_eq!(*word & mask, mask, "bits cleared twice");
            *word &= !mask;
        });
    }

    #[inline]
    fn for_each_word(&mut self, first: usize, count: usize, mut change: impl FnMut(&mut u64, u64)) {
        debug_assert!(count > 0 && first + count <= BLOCK_PAGES);
        let (mut bit, mut left) = (first, count);
        while left > 0 {
            let in_word = left.min(64 - bit % 64);
            // `in_word` is 1..=64, so the shift is in range.
            let mask = (u64::MAX >> (64 - in_word)) << (bit % 64);
            change(&mut self.0[bit / 64 % WORDS], mask);
            bit += in_word;
            left -= in_word;
        }
    }

    /// The lowest run of `count` set bits whose first is a multiple of `align`, a power of two.
    #[inline]
    pub fn find(&self, count: usize, align: usize) -> Option<usize> {
        debug_assert!(count > 0 && align.is_power_of_two());
        if count <= 64 { self.find_short(count, align) } else { self.find_long(count, align) }
    }

    /// Runs that start in a word end in it or in the next one: 128 bits at a time.
    #[inline]
    fn find_short(&self, count: usize, align: usize) -> Option<usize> {
        for (index, &word) in self.0.iter().enumerate() {
            if word == 0 {
                continue;
            }
            let next = self.0.get(index + 1).copied().unwrap_or(0);
            let bits = u128::from(next) << 64 | u128::from(word);
            let starts = starts_of_runs(bits, count) as u64 & aligned_bits(index, align);
            if starts != 0 {
                return Some(index * 64 + starts.trailing_zeros() as usize);
            }
        }
        None
    }

    /// Few runs can be this long: go from run to run.
    fn find_long(&self, count: usize, align: usize) -> Option<usize> {
        let mut from = 0;
        while let Some((start, end)) = self.next_run(from) {
            let aligned = start.next_multiple_of(align);
            if aligned + count <= end {
                return Some(aligned);
            }
            from = end;
        }
        None
    }

    /// The first maximal run of set bits at or above `from`, as start and end.
    fn next_run(&self, from: usize) -> Option<(usize, usize)> {
        let start = self.next(from, |word| word)?;
        Some((start, self.next(start, |word| !word).unwrap_or(BLOCK_PAGES)))
    }

    /// The first bit at or above `from` that is set in `view` of its word.
    #[inline]
    fn next(&self, from: usize, view: impl Fn(u64) -> u64) -> Option<usize> {
        let mut index = from / 64;
        let mut word = view(*self.0.get(index)?) & (u64::MAX << (from % 64));
        while word == 0 {
            index += 1;
            word = view(*self.0.get(index)?);
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }

    /// Length of the longest run of set bits.
    pub fn longest_run(&self) -> usize {
        let (mut longest, mut from) = (0, 0);
        while let Some((start, end)) = self.next_run(from) {
            longest = longest.max(end - start);
            from = end;
        }
        longest
    }

    /// Length of the maximal run of set bits that bit `bit`, itself set, lies in.
    pub fn run_around(&self, bit: usize) -> usize {
        debug_assert!(self.get(bit));
        let end = self.next(bit, |word| !word).unwrap_or(BLOCK_PAGES);
        let mut index = bit / 64;
        // Clear bits below and at `bit`, as they stand, the topmost bounding the run.
        let mut clear = !self.0[index] & (u64::MAX >> (63 - bit % 64));
        while clear == 0 {
            if index == 0 {
                return end;
            }
            index -= 1;
            clear = !self.0[index];
        }
        end - (index * 64 + 64 - clear.leading_zeros() as usize)
    }
}

/// Bits at which `count` set bits start, by doubling: after each step `bits` marks runs of `have`.
/// There are at least `count` bits.
#[inline]
pub(crate) fn starts_of_runs<B: Copy + BitAnd<Output = B> + Shr<usize, Output = B>>(
    mut bits: B,
    count: usize,
) -> B {
    debug_assert!((1..=8 * size_of::<B>()).contains(&count));
    let mut have = 1;
    while have < count {
        let step = have.min(count - have);
        bits = bits & bits >> step;
        have += step;
    }
    bits
}

/// The bits of word `index` whose place in the block is a multiple of `align`.
#[inline]
fn aligned_bits(index: usize, align: usize) -> u64 {
    const EVERY: [u64; 7] = [
        u64::MAX,
        0x5555_5555_5555_5555,
        0x1111_1111_1111_1111,
        0x0101_0101_0101_0101,
        0x0001_0001_0001_0001,
        0x0000_0001_0000_0001,
        1,
    ];
    match EVERY.get(align.trailing_zeros() as usize) {
        Some(&bits) => bits,
        None => u64::from((index * 64).is_multiple_of(align)),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn bools(map: &Bitmap) -> Vec<bool> {
        (0..BLOCK_PAGES).map(|bit| map.get(bit)).collect()
    }

    fn naive_find(bits: &[bool], count: usize, align: usize) -> Option<usize> {
        (0..bits.len())
            .step_by(align)
            .find(|&start| start + count <= bits.len() && bits[start..start + count].iter().all(|&b| b))
    }

    fn bitmaps() -> impl Strategy<Value = Bitmap> {
        let word = prop_oneof![
            3 => any::<u64>(),
            2 => any::<(u64, u64)>().prop_map(|(a, b)| a | b),
            2 => any::<(u64, u64, u64)>().prop_map(|(a, b, c)| a | b | c),
            2 => Just(u64::MAX),
            1 => Just(0),
        ];
        prop::array::uniform8(word).prop_map(Bitmap)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn find_is_the_lowest_aligned_run(map in bitmaps(), count in prop_oneof![1usize..8, 1usize..=512], shift in 0u32..10) {
            let align = 1 << shift;
            prop_assert_eq!(map.find(count, align), naive_find(&bools(&map), count, align));
        }

        #[test]
        fn runs_are_measured_right(map in bitmaps(), bit in 0..BLOCK_PAGES) {
            let bits = bools(&map);
            let longest = bits.split(|&b| !b).map(<[bool]>::len).max().unwrap_or(0);
            prop_assert_eq!(map.longest_run(), longest);
            if map.get(bit) {
                let below = bits[..bit].iter().rev().take_while(|&&b| b).count();
                let above = bits[bit..].iter().take_while(|&&b| b).count();
                prop_assert_eq!(map.run_around(bit), below + above);
            }
        }

        #[test]
        fn set_undoes_clear(first in 0usize..512, count in 1usize..=512) {
            let count = count.min(512 - first);
            let mut map = Bitmap::FULL;
            map.clear(first, count);
            for bit in 0..BLOCK_PAGES {
                prop_assert_eq!(map.get(bit), bit < first || bit >= first + count);
            }
            map.set(first, count);
            prop_assert_eq!(map, Bitmap::FULL);
        }
    }

    #[test]
    fn a_full_block_holds_exactly_one_full_run() {
        assert_eq!(Bitmap::FULL.find(512, 1), Some(0));
        assert_eq!(Bitmap::FULL.longest_run(), 512);
        let mut map = Bitmap::FULL;
        map.clear(511, 1);
        assert_eq!(map.find(512, 1), None);
        assert_eq!(map.find(511, 1), Some(0));
        assert_eq!(map.find(1, 512), Some(0));
    }
}
