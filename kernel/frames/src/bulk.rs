//! Runs of any length, and many single frames at once.
//!
//! A magazine moves tens of frames at a time, and a large allocation hundreds. Both pass
//! through whole blocks and whole bitmap words here, so that the cost is by the block and
//! not by the frame.

use crate::block::{Block, MAX_ORDER, MAX_RUN, blocks_of};
use crate::buddy::Buddy;
use crate::error::FreeError;
use core::ops::Range;

/// Frames that [`Buddy::free_bulk`] gathers before it frees them: one bitmap word.
const GROUP: u64 = u64::BITS as u64;

impl Buddy<'_> {
    /// Takes a contiguous run of `frames` frames, 1 to [`MAX_RUN`]: a block of the order
    /// rounded up, whose tail is given back at once. Returns page frame numbers, end
    /// exclusive; the first is aligned to the length rounded up to a power of two.
    ///
    /// `None` if no block is large enough or the length is out of range, zero included.
    #[must_use = "the frames are lost if the range is dropped"]
    pub fn allocate_run(&mut self, frames: u64) -> Option<Range<u64>> {
        if !(1..=MAX_RUN).contains(&frames) {
            return None;
        }
        let order = frames.next_power_of_two().ilog2() as usize;
        let first = self.allocate(order)?;
        let run = first..first + frames;
        // Every block of the tail has its buddy in the run or has it further up the tail,
        // in a larger block: nothing can merge.
        for block in blocks_of(run.end..first + (1 << order)) {
            self.put_back(block);
        }
        Some(run)
    }

    /// Gives back any run of allocated frames (page frame numbers, end exclusive), however
    /// it was allocated and however long. An empty range does nothing.
    ///
    /// # Errors
    ///
    /// Every [`FreeError`] but those about the order; nothing is changed then, not even
    /// for the frames of the run that are in order.
    pub fn free_run(&mut self, run: Range<u64>) -> Result<(), FreeError> {
        self.check_run(&run)?;
        self.check_allocated(run.end.saturating_sub(run.start))?;
        for block in blocks_of(run) {
            self.merge_in(block);
        }
        Ok(())
    }

    /// Takes up to `count` single frames and passes each page frame number to `sink`.
    /// Returns how many there were: fewer than `count` only if nothing is free any more.
    ///
    /// Takes the largest free blocks that are not larger than what is still wanted, as
    /// many as there are in one bitmap word at a time; only when there is none does it
    /// split a larger block, and then takes as large a part as it can use. So small
    /// leftovers are used up before a block fit for a 2 MiB leaf is broken, and a refill of 64
    /// from fresh memory is one allocation of order 6. The frames of a block come in
    /// ascending order.
    pub fn allocate_bulk(&mut self, count: usize, mut sink: impl FnMut(u64)) -> usize {
        let mut wanted = count;
        while let Some(order) = wanted.checked_ilog2() {
            let order = (order as usize).min(MAX_ORDER);
            if let Some(order) = self.largest_free_order_up_to(order) {
                let Some((first, mut bits)) = self.take_word(order, wanted >> order) else { break };
                wanted -= (bits.count_ones() as usize) << order;
                while bits != 0 {
                    let first_frame = first + (u64::from(bits.trailing_zeros()) << order);
                    Block { first_frame, order }.frames().for_each(&mut sink);
                    bits &= bits - 1;
                }
            } else {
                let Some(first_frame) = self.allocate(order) else { break };
                wanted -= 1 << order;
                Block { first_frame, order }.frames().for_each(&mut sink);
            }
        }
        count - wanted
    }

    /// Gives back single frames by page frame number.
    ///
    /// Frames of one aligned group of 64 that follow one another in `frames`, in any order
    /// within the group, are gathered and freed as the blocks they make up: 64 frames from
    /// one refill go back as one block of order 6.
    ///
    /// # Errors
    ///
    /// The first error met. A frame that is refused is skipped and all others are freed,
    /// so that one bad frame does not leak the rest; a frame that is named twice is freed
    /// once.
    pub fn free_bulk(&mut self, frames: impl IntoIterator<Item = u64>) -> Result<(), FreeError> {
        let mut result = Ok(());
        let (mut group, mut gathered) = (0, 0_u64);
        for frame in frames {
            let bit = 1 << (frame % GROUP);
            if gathered & bit != 0 || frame / GROUP != group {
                // Another group, or the same frame again, which is then found free.
                result = result.and(self.free_group(group, gathered));
                (group, gathered) = (frame / GROUP, 0);
            }
            gathered |= bit;
        }
        result.and(self.free_group(group, gathered))
    }

    /// Frees frame `64 * group + i` for every bit `i` of `gathered`; returns the first
    /// error and frees what it can.
    #[inline]
    fn free_group(&mut self, group: u64, mut gathered: u64) -> Result<(), FreeError> {
        let mut result = Ok(());
        while gathered != 0 {
            let start = gathered.trailing_zeros();
            let length = (gathered >> start).trailing_ones();
            gathered &= !((u64::MAX >> (u64::BITS - length)) << start);
            let first = group * GROUP + u64::from(start);
            // The last frames below 2^64 have no end to name; they are outside any span.
            let Some(end) = first.checked_add(u64::from(length)) else {
                result = result.and(Err(FreeError::OutsideSpan { frame: first }));
                continue;
            };
            let freed = if length == 1 { self.free(first, 0) } else { self.free_run(first..end) };
            if freed.is_err() {
                // Something in the run is bad: find out which by freeing one by one.
                for frame in first..end {
                    result = result.and(self.free(frame, 0));
                }
            }
        }
        result
    }
}
