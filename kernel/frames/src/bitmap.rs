//! A bitmap that finds its lowest set bit in a few loads.
//!
//! Level 0 holds the bits themselves, 64 to a word. A bit of level `l + 1` is set exactly
//! if the word of level `l` with the same number is not zero. The levels follow one
//! another in the storage and the last is one word, so a search starts at the last word
//! and takes one load and one `trailing_zeros` a level: three levels are enough for 1 GiB
//! of frames, four for 64 GiB, five for 4 TiB. The summaries add 1/63 to the storage.
//!
//! A change goes up a level only when a word becomes zero or stops being zero, so setting
//! or clearing a bit is mostly one read-modify-write.

/// Levels that a bitmap may have: `64^7` bits are 4 times the frames that 52 bits of
/// physical address can name.
const MAX_LEVELS: usize = 7;

/// Bits in a word, and the fan-out of a summary.
const FAN: usize = u64::BITS as usize;

/// Binary logarithm of [`FAN`].
const FAN_ORDER: usize = FAN.ilog2() as usize;

/// See the module.
pub(crate) struct Bitmap<'a> {
    /// All levels, level 0 first.
    words: &'a mut [u64],
    /// Index in `words` of each level's first word.
    starts: [usize; MAX_LEVELS],
    /// Number of levels in use, at least one.
    levels: usize,
}

impl<'a> Bitmap<'a> {
    /// Words of storage for `bits` bits with all summaries; at least one.
    pub(crate) const fn storage_words(bits: usize) -> usize {
        let mut words = 0;
        let mut level = bits;
        loop {
            level = if level == 0 { 1 } else { level.div_ceil(FAN) };
            words += level;
            if level == 1 {
                return words;
            }
        }
    }

    /// An all-clear bitmap of `bits` bits in `words`, which must be exactly
    /// [`storage_words`](Self::storage_words)`(bits)` long. The storage may hold anything.
    pub(crate) fn new(bits: usize, words: &'a mut [u64]) -> Self {
        assert_eq!(words.len(), Self::storage_words(bits), "bitmap storage does not match its bits");
        words.fill(0);
        let mut starts = [0; MAX_LEVELS];
        let mut levels = 1;
        let mut length = bits.div_ceil(FAN);
        while length > 1 {
            starts[levels] = starts[levels - 1] + length;
            levels += 1;
            length = length.div_ceil(FAN);
        }
        Self { words, starts, levels }
    }

    /// Whether bit `index` is set.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> bool {
        self.words[index / FAN] & bit(index) != 0
    }

    /// Sets bit `index`.
    #[inline]
    pub(crate) fn set(&mut self, mut index: usize) {
        for start in &self.starts[..self.levels] {
            let word = &mut self.words[start + index / FAN];
            let before = *word;
            *word |= bit(index);
            if before != 0 {
                return;
            }
            index /= FAN;
        }
    }

    /// Clears bit `index`.
    #[inline]
    pub(crate) fn clear(&mut self, index: usize) {
        self.clear_word(index / FAN, bit(index));
    }

    /// Clears the bits of `mask` in word `word` of level 0.
    #[inline]
    fn clear_word(&mut self, word: usize, mask: u64) {
        let (mut index, mut mask) = (word, mask);
        for start in &self.starts[..self.levels] {
            let word = &mut self.words[start + index];
            *word &= !mask;
            if *word != 0 {
                return;
            }
            mask = bit(index);
            index /= FAN;
        }
    }

    /// The lowest set bit.
    #[inline]
    pub(crate) fn first(&self) -> Option<usize> {
        let top = *self.words.last()?;
        if top == 0 {
            return None;
        }
        Some(self.descend(self.levels - 1, top.trailing_zeros() as usize))
    }

    /// The lowest set bit among the `2^order` bits from `first`, a multiple of `2^order`.
    ///
    /// One load and a mask on the level that has the bits in one word, however long the
    /// group is.
    #[inline]
    pub(crate) fn first_in_group(&self, first: usize, order: usize) -> Option<usize> {
        let (mut level, mut index, mut order) = (0, first, order);
        while order > FAN_ORDER {
            level += 1;
            index /= FAN;
            order -= FAN_ORDER;
        }
        let group = (u64::MAX >> (FAN - (1 << order))) << (index % FAN);
        let found = self.words[self.starts[level] + index / FAN] & group;
        if found == 0 {
            return None;
        }
        Some(self.descend(level, index / FAN * FAN + found.trailing_zeros() as usize))
    }

    /// Clears up to `count` (at least 1) of the lowest bits, all in the lowest word that
    /// has any. Returns the index of that word's bit 0 and the bits that were cleared, or
    /// `None` if no bit is set.
    #[inline]
    pub(crate) fn take_word(&mut self, count: usize) -> Option<(usize, u64)> {
        let word = self.first()? / FAN;
        let bits = self.words[word];
        let taken = lowest(bits, count);
        self.clear_word(word, taken);
        Some((word * FAN, taken))
    }

    /// From a set bit of a level down to the lowest bit of level 0 below it.
    #[inline]
    fn descend(&self, level: usize, mut index: usize) -> usize {
        for start in self.starts[..level].iter().rev() {
            index = index * FAN + self.words[start + index].trailing_zeros() as usize;
        }
        index
    }
}

/// The mask of bit `index` in its word.
#[inline]
const fn bit(index: usize) -> u64 {
    1 << (index % FAN)
}

/// The `count` lowest set bits of `bits`, or all if there are no more.
#[inline]
const fn lowest(bits: u64, count: usize) -> u64 {
    if bits.count_ones() as usize <= count {
        return bits;
    }
    let mut rest = bits;
    let mut taken = 0;
    while taken < count {
        rest &= rest - 1;
        taken += 1;
    }
    bits ^ rest
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::{vec, vec::Vec};

    fn storage(bits: usize) -> Vec<u64> {
        // Not zero, as the kernel's storage need not be.
        vec![0xdead_beef_dead_beef; Bitmap::storage_words(bits)]
    }

    #[test]
    fn storage_counts_every_level() {
        assert_eq!(Bitmap::storage_words(0), 1);
        assert_eq!(Bitmap::storage_words(64), 1);
        assert_eq!(Bitmap::storage_words(65), 2 + 1);
        assert_eq!(Bitmap::storage_words(64 * 64 + 1), 65 + 2 + 1);
        assert_eq!(Bitmap::storage_words(1 << 24), (1 << 18) + (1 << 12) + (1 << 6) + 1);
    }

    #[test]
    fn starts_clear_whatever_the_storage_held() {
        let mut words = storage(5000);
        let bitmap = Bitmap::new(5000, &mut words);
        assert_eq!(bitmap.first(), None);
        assert!((0..5000).all(|index| !bitmap.get(index)));
    }

    #[test]
    fn first_follows_sets_and_clears_across_levels() {
        const BITS: usize = 300_000;
        let mut words = storage(BITS);
        let mut bitmap = Bitmap::new(BITS, &mut words);
        let indexes = [BITS - 1, 64 * 64 * 64, 64 * 64 + 1, 64 * 64, 64, 63, 0];
        for index in indexes {
            bitmap.set(index);
            assert_eq!(bitmap.first(), Some(index));
        }
        for index in indexes.into_iter().rev() {
            assert_eq!(bitmap.first(), Some(index));
            bitmap.clear(index);
            assert!(!bitmap.get(index));
        }
        assert_eq!(bitmap.first(), None);
        assert!(bitmap.words.iter().all(|&word| word == 0));
    }

    #[test]
    fn group_search_sees_its_group_only() {
        let mut words = storage(8192);
        let mut bitmap = Bitmap::new(8192, &mut words);
        bitmap.set(1023);
        bitmap.set(2048);
        for order in 0..=10 {
            assert_eq!(bitmap.first_in_group(1024, order), None);
            assert_eq!(bitmap.first_in_group(2048, order), Some(2048));
            assert_eq!(bitmap.first_in_group(1024 - (1 << order), order), Some(1023));
        }
        bitmap.set(1500);
        assert_eq!(bitmap.first_in_group(1024, 10), Some(1500));
        assert_eq!(bitmap.first_in_group(1024, 8), None);
        assert_eq!(bitmap.first_in_group(0, 12), Some(1023));
    }

    #[test]
    fn a_word_is_taken_lowest_bits_first() {
        let mut words = storage(1000);
        let mut bitmap = Bitmap::new(1000, &mut words);
        for index in [130, 131, 140, 700] {
            bitmap.set(index);
        }
        assert_eq!(bitmap.take_word(2), Some((128, 0b1100)));
        assert_eq!(bitmap.take_word(64), Some((128, 1 << 12)));
        assert_eq!(bitmap.take_word(1), Some((640, 1 << 60)));
        assert_eq!(bitmap.take_word(1), None);
    }
}
