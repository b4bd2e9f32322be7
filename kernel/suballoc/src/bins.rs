//! Bins of rows by the length of their longest free run: four bins for each power of two.
//!
//! A row is put into the right bin when a page is opened, when it would be missed where it is, and when a
//! search finds it too high; not each time that the length changes.

use crate::{NONE, row::GRANULES};

/// Lengths below all granules of a page: one of which nothing is used is in no bin.
pub(crate) const BINS: usize = bin_of(GRANULES);

/// Bins for each power of two.
pub(crate) const BIN_PARTS: usize = 4;

/// The bin of rows whose longest free run has this length, at least 1.
#[inline]
pub(crate) const fn bin_of(length: usize) -> usize {
    if length < 4 {
        return length;
    }
    let log = length.ilog2() as usize;
    BIN_PARTS * (log - 1) + (length >> (log - 2)) % BIN_PARTS
}

/// The lowest bin whose rows all have a free run of `length`, at least 1, unless something was taken of them
/// since they were put there.
#[inline]
pub(crate) const fn sure_bin(length: usize) -> usize {
    bin_of(length - 1) + 1
}

/// The first row of each bin.
#[derive(Debug)]
pub(crate) struct Bins {
    pub first: [u32; BINS],
    /// A bit for each bin that has rows.
    filled: u32,
}

const _: () = assert!(BINS < 32);

impl Bins {
    pub const fn new() -> Self {
        Self { first: [NONE; BINS], filled: 0 }
    }

    /// Makes `row` the first of a bin: the one before.
    #[inline]
    pub fn set_first(&mut self, bin: usize, row: u32) -> u32 {
        if row == NONE {
            self.filled &= !(1 << bin);
        } else {
            self.filled |= 1 << bin;
        }
        core::mem::replace(&mut self.first[bin], row)
    }

    /// The first row of the lowest bin from `bin` on.
    #[inline]
    pub fn at_least(&self, bin: usize) -> Option<u32> {
        let filled = if bin < BINS { self.filled >> bin } else { 0 };
        (filled != 0).then(|| self.first[bin + filled.trailing_zeros() as usize])
    }

    /// The bins in `low..high` that have rows, a bit for each.
    #[inline]
    pub fn between(&self, low: usize, high: usize) -> u32 {
        self.filled & ((1 << high.min(BINS)) - 1) & (u32::MAX << low)
    }
}
