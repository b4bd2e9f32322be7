//! Bits that say what is used, and the runs of them.

/// `64 * WORDS` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Bits<WORDS> {
    pub const NONE: Self = Self([0; WORDS]);
    pub const LEN: usize = 64 * WORDS;

    /// Sets `count` bits from `first`, none of which is set.
    ///
    /// # Panics
    /// One is set.
    #[inline]
    pub fn set(&mut self, first: usize, count: usize) {
        self.each_word(first, count, |word, mask| {
            assert!(*word & mask == 0, "what is used was taken");
            *word |= mask;
        });
    }

    /// Clears `count` bits from `first`, all of which are set.
    ///
    /// # Panics
    /// One is not set.
    #[inline]
    pub fn clear(&mut self, first: usize, count: usize) {
        self.each_word(first, count, |word, mask| {
            assert!(*word & mask == mask, "what is free was given back");
            *word &= !mask;
        });
    }

    #[inline]
    fn each_word(&mut self, first: usize, count: usize, mut change: impl FnMut(&mut u64, u64)) {
        let (mut bit, end) = (first, first + count);
        while bit < end {
            let bits = (64 - bit % 64).min(end - bit);
            change(&mut self.0[bit / 64], (u64::MAX >> (64 - bits)) << (bit % 64));
            bit += bits;
        }
    }

    /// Whether a bit is set.
    #[inline]
    pub fn has(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// The first bit at or above `from` that is set, or all of them.
    #[inline]
    pub fn next_set(&self, from: usize) -> usize {
        self.next(from, |word| word)
    }

    /// The first bit at or above `from` that is clear, or all of them.
    #[inline]
    pub fn next_clear(&self, from: usize) -> usize {
        self.next(from, |word| !word)
    }

    #[inline]
    fn next(&self, from: usize, map: impl Fn(u64) -> u64) -> usize {
        let mut index = from / 64;
        let mut below = u64::MAX << (from % 64);
        while let Some(&word) = self.0.get(index) {
            let found = map(word) & below;
            if found != 0 {
                return index * 64 + found.trailing_zeros() as usize;
            }
            (index, below) = (index + 1, u64::MAX);
        }
        Self::LEN
    }

    /// Where the run of clear bits begins that ends before bit `end`.
    #[inline]
    pub fn clear_below(&self, end: usize) -> usize {
        let mut index = end / 64;
        let mut mask = (1 << (end % 64)) - 1;
        loop {
            let found = self.0.get(index).map_or(0, |word| word & mask);
            if found != 0 {
                return index * 64 + 64 - found.leading_zeros() as usize;
            }
            let Some(below) = index.checked_sub(1) else { return 0 };
            (index, mask) = (below, u64::MAX);
        }
    }

    /// Of each word, those bits that are set here and clear there.
    pub fn without(&self, other: &Self) -> Self {
        Self(core::array::from_fn(|index| self.0[index] & !other.0[index]))
    }

    /// How many are set.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}
