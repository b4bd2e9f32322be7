//! Runs of set bits in the 512 bits of a vmap block.

use crate::BLOCK_PAGES;
use core::ops::{BitAnd, Shr};

/// An integer whose bits are searched for runs.
pub(crate) trait Bits: Copy + BitAnd<Output = Self> + Shr<usize, Output = Self> + Into<u128> {}
impl Bits for u64 {}
impl Bits for u128 {}

pub(crate) const WORDS: usize = BLOCK_PAGES / 64;

/// 512 bits, one for each page of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bitmap([u64; WORDS]);

impl Bitmap {
    pub const FULL: Self = Self([u64::MAX; WORDS]);

    pub const EMPTY: Self = Self([0; WORDS]);

    /// Bits `64 * index` and above.
    #[inline]
    pub fn word(&self, index: usize) -> u64 {
        self.0[index % WORDS]
    }

    #[inline]
    pub fn set_word(&mut self, index: usize, word: u64) {
        self.0[index % WORDS] = word;
    }

    /// Sets `count` bits from `first`.
    #[inline(always)]
    pub fn set(&mut self, first: usize, count: usize) {
        each_word(first, count, |index, mask| {
            debug_assert_eq!(self.word(index) & mask, 0, "bits set twice");
            self.set_word(index, self.word(index) | mask);
            true
        });
    }

    /// Clears `count` bits from `first`.
    #[inline]
    pub fn clear(&mut self, first: usize, count: usize) {
        each_word(first, count, |index, mask| {
            debug_assert_eq!(self.word(index) & mask, mask, "bits cleared twice");
            self.set_word(index, self.word(index) & !mask);
            true
        });
    }
}

/// Gives `go_on` the index of each word that `count` bits from `first` lie in, with a mask of them, until it returns false.
/// Returns whether it never did.
#[inline(always)]
fn each_word(first: usize, count: usize, mut go_on: impl FnMut(usize, u64) -> bool) -> bool {
    debug_assert!(count > 0 && first + count <= BLOCK_PAGES);
    let (mut bit, mut left) = (first, count);
    while bit % 64 + left > 64 {
        let here = 64 - bit % 64;
        if !go_on(bit / 64, bits(bit % 64, here)) {
            return false;
        }
        bit += here;
        left -= here;
    }
    go_on(bit / 64, bits(bit % 64, left))
}

/// Returns a word with the bits `first..first + count` set; `count` is 1 to 64.
#[inline(always)]
pub(crate) fn bits(first: usize, count: usize) -> u64 {
    debug_assert!(count > 0 && first + count <= 64);
    (u64::MAX >> (64 - count)) << first
}

/// A map to search that need not be stored as such: bit `b` of the block is bit `b % 64` of word `b / 64`, which the
/// function returns.
#[derive(Clone, Copy)]
pub(crate) struct View<W>(pub W);

impl<W: Fn(usize) -> u64> View<W> {
    /// Finds the lowest run of `count` set bits at or above word `from` whose first is a multiple of `align`,
    /// a power of two.
    #[inline]
    pub fn find(self, from: usize, count: usize, align: usize) -> Option<usize> {
        debug_assert!(count > 0 && align.is_power_of_two());
        if count <= 64 { self.find_short(from, count, align) } else { self.find_long(from, count, align) }
    }

    /// Finds a run of at most 64 bits: one that starts in a word ends in it or in the next one, and those that end in it
    /// start lower.
    #[inline]
    fn find_short(self, from: usize, count: usize, align: usize) -> Option<usize> {
        for index in from..WORDS {
            let word = (self.0)(index);
            if word == 0 {
                continue;
            }
            let aligned = aligned_bits(index, align);
            let mut starts = starts_of_runs(word, count) & aligned;
            if starts == 0 && word >> 63 != 0 && index + 1 < WORDS {
                let both = u128::from((self.0)(index + 1)) << 64 | u128::from(word);
                starts = starts_of_runs(both, count) as u64 & aligned;
            }
            if starts != 0 {
                return Some(index * 64 + starts.trailing_zeros() as usize);
            }
        }
        None
    }

    /// Finds a run of more than 64 bits by going from run to run: few can be this long.
    fn find_long(self, from: usize, count: usize, align: usize) -> Option<usize> {
        self.runs(from * 64).find_map(|(start, end)| {
            let aligned = start.next_multiple_of(align);
            (aligned + count <= end).then_some(aligned)
        })
    }

    /// Returns the maximal runs of set bits at or above bit `from`, as start and end.
    pub fn runs(self, mut from: usize) -> impl Iterator<Item = (usize, usize)> {
        core::iter::from_fn(move || {
            let start = self.next(from, |word| word)?;
            from = self.next(start, |word| !word).unwrap_or(BLOCK_PAGES);
            Some((start, from))
        })
    }

    /// Returns how many bits from `from` on are set without a gap.
    #[inline]
    pub fn run_from(self, from: usize) -> usize {
        self.next(from, |word| !word).unwrap_or(BLOCK_PAGES) - from
    }

    /// Returns the first bit at or above `from` that is set in what `map` makes of its word.
    #[inline]
    fn next(&self, from: usize, map: impl Fn(u64) -> u64) -> Option<usize> {
        let mut index = from / 64;
        if index >= WORDS {
            return None;
        }
        let mut word = map((self.0)(index)) & (u64::MAX << (from % 64));
        while word == 0 {
            index += 1;
            if index == WORDS {
                return None;
            }
            word = map((self.0)(index));
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }

    /// Returns whether `count` bits from `first` are all set.
    #[inline]
    pub fn all(self, first: usize, count: usize) -> bool {
        each_word(first, count, |index, mask| (self.0)(index % WORDS) & mask == mask)
    }

    /// Returns the length of the longest run of set bits.
    pub fn longest_run(self) -> usize {
        self.runs(0).map(|(start, end)| end - start).max().unwrap_or(0)
    }
}

/// Returns the bits at which `count` set bits start, where `count` is at most the number of bits of `B`.
// By doubling: after each step `bits` marks runs of `have`.
#[inline]
pub(crate) fn starts_of_runs<B: Bits>(mut bits: B, count: usize) -> B {
    debug_assert!((1..=8 * size_of::<B>()).contains(&count));
    let mut have = 1;
    while have < count {
        let step = have.min(count - have);
        bits = bits & bits >> step;
        have += step;
    }
    bits
}

/// Returns the bits of word `index` whose place in the block is a multiple of `align`.
#[inline]
fn aligned_bits(index: usize, align: usize) -> u64 {
    // Ones divided by `align` ones: a one in each `align` bits.
    const EVERY: [u64; 7] = [!0, !0 / 0x3, !0 / 0xf, !0 / 0xff, !0 / 0xffff, !0 / 0xffff_ffff, 1];
    match EVERY.get(align.trailing_zeros() as usize) {
        Some(&bits) => bits,
        None => u64::from((index * 64).is_multiple_of(align)),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn get(map: &Bitmap, bit: usize) -> bool {
        map.word(bit / 64) >> (bit % 64) & 1 != 0
    }

    fn bools(map: &Bitmap) -> Vec<bool> {
        (0..BLOCK_PAGES).map(|bit| get(map, bit)).collect()
    }

    fn view(map: &Bitmap) -> View<impl Fn(usize) -> u64> {
        View(|index| map.word(index))
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
            prop_assert_eq!(view(&map).find(0, count, align), naive_find(&bools(&map), count, align));
        }

        /// Seen failing with a search of long runs that starts at the first word, whatever it is told.
        #[test]
        fn find_begins_where_it_is_told(
            map in bitmaps(), from in 0usize..8, count in prop_oneof![1usize..8, 1usize..=300],
        ) {
            let mut bits = bools(&map);
            bits[..from * 64].fill(false);
            prop_assert_eq!(view(&map).find(from, count, 1), naive_find(&bits, count, 1));
        }

        #[test]
        fn a_run_is_as_long_as_to_the_first_gap(map in bitmaps(), from in 0usize..512) {
            let bits = bools(&map);
            let length = bits[from..].iter().take_while(|&&bit| bit).count();
            prop_assert_eq!(view(&map).run_from(from), length);
        }

        #[test]
        fn runs_are_measured_right(map in bitmaps()) {
            let bits = bools(&map);
            let longest = bits.split(|&b| !b).map(<[bool]>::len).max().unwrap_or(0);
            prop_assert_eq!(view(&map).longest_run(), longest);
            let total: usize = view(&map).runs(0).map(|(start, end)| end - start).sum();
            prop_assert_eq!(total, bits.iter().filter(|&&bit| bit).count());
        }

        #[test]
        fn all_is_true_of_runs_alone(map in bitmaps(), first in 0usize..512, count in 1usize..=512) {
            let count = count.min(512 - first);
            prop_assert_eq!(view(&map).all(first, count), bools(&map)[first..first + count].iter().all(|&b| b));
        }

        #[test]
        fn set_undoes_clear(first in 0usize..512, count in 1usize..=512) {
            let count = count.min(512 - first);
            let mut map = Bitmap::FULL;
            map.clear(first, count);
            for bit in 0..BLOCK_PAGES {
                prop_assert_eq!(get(&map, bit), bit < first || bit >= first + count);
            }
            map.set(first, count);
            prop_assert_eq!(map, Bitmap::FULL);
        }
    }

    #[test]
    fn a_full_block_holds_exactly_one_full_run() {
        assert_eq!(view(&Bitmap::FULL).find(0, 512, 1), Some(0));
        assert_eq!(view(&Bitmap::FULL).longest_run(), 512);
        let mut map = Bitmap::FULL;
        map.clear(511, 1);
        assert_eq!(view(&map).find(0, 512, 1), None);
        assert_eq!(view(&map).find(0, 511, 1), Some(0));
        assert_eq!(view(&map).find(0, 1, 512), Some(0));
    }
}
