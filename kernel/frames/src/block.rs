//! Blocks, the aligned powers of two that the buddy system deals in, and the cutting of a
//! run of frames into them.

use core::fmt;
use core::ops::Range;

/// The order of the largest block: `2^10` frames, 4 MiB, room for two 2 MiB leaves.
///
/// Nine would do for one leaf; the tenth lets a run longer than 2 MiB be contiguous and
/// halves the steps of [`Buddy::add`](crate::Buddy::add).
pub const MAX_ORDER: usize = 10;

/// Number of orders, `0..=MAX_ORDER`.
pub(crate) const ORDERS: usize = MAX_ORDER + 1;

/// The longest contiguous run, in frames, that can be allocated: one block of
/// [`MAX_ORDER`].
pub const MAX_RUN: u64 = 1 << MAX_ORDER;

/// `2^order` frames, the first of which is a multiple of `2^order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// Page frame number of the block's lowest frame.
    pub first_frame: u64,
    /// Binary logarithm of the number of frames, at most [`MAX_ORDER`].
    pub order: usize,
}

impl Block {
    /// Number of frames in the block.
    #[inline]
    #[must_use]
    pub const fn len(self) -> u64 {
        1 << self.order
    }

    /// A block has at least one frame, so this is always `false`; it stands here because
    /// a `len` is expected to have one.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// The page frame numbers of the block, end exclusive.
    #[inline]
    #[must_use]
    pub const fn frames(self) -> Range<u64> {
        self.first_frame..self.first_frame + self.len()
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order {} at frame {:#x}", self.order, self.first_frame)
    }
}

/// Cuts `run` into the fewest aligned blocks, lowest first.
///
/// At most `2 * MAX_ORDER` of them are below [`MAX_ORDER`], at the two odd ends; the rest
/// are whole blocks of the top order. An empty or inverted range has none.
#[inline]
pub(crate) fn blocks_of(run: Range<u64>) -> impl Iterator<Item = Block> {
    let mut next = run.start;
    core::iter::from_fn(move || {
        let left = run.end.checked_sub(next).filter(|&left| left > 0)?;
        let order = next.trailing_zeros().min(left.ilog2()).min(MAX_ORDER as u32) as usize;
        let block = Block { first_frame: next, order };
        next += block.len();
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    fn orders(run: Range<u64>) -> Vec<usize> {
        blocks_of(run).map(|block| block.order).collect()
    }

    #[test]
    fn an_aligned_run_is_whole_top_blocks() {
        assert_eq!(orders(0..3 * MAX_RUN), [MAX_ORDER; 3]);
    }

    #[test]
    fn odd_ends_climb_and_descend() {
        assert_eq!(orders(1..23), [0, 1, 2, 3, 2, 1, 0]);
    }

    #[test]
    fn empty_and_inverted_runs_have_no_block() {
        assert!(orders(7..7).is_empty());
        assert!(orders(Range { start: 9, end: 7 }).is_empty());
    }

    #[test]
    fn blocks_are_aligned_and_cover_the_run_once() {
        for (start, end) in [(0, 1), (3, 5000), (1023, 1025), (511, 4097), (2048, 2049)] {
            let mut next = start;
            for block in blocks_of(start..end) {
                assert_eq!(block.first_frame, next);
                assert!(block.first_frame % block.len() == 0 && !block.is_empty());
                next = block.frames().end;
            }
            assert_eq!(next, end);
        }
    }
}
