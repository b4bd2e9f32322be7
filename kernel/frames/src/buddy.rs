//! The buddy allocator: one free bitmap an order.
//!
//! Called by the owner of the frames, under whatever lock that owner keeps it in; takes
//! none itself. Runs and bulk transfers are in `bulk`.

use crate::bitmap::Bitmap;
use crate::block::{Block, MAX_ORDER, MAX_RUN, ORDERS, blocks_of};
use crate::error::FreeError;
use core::fmt;
use core::ops::Range;

/// A buddy allocator of the frames in one span of physical memory.
///
/// Made empty; [`add`](Self::add) gives it the frames that exist. The state lives in
/// storage that the caller lends, about 2.03 bits a frame of the span, holes included.
pub struct Buddy<'a> {
    /// Page frame numbers that may be added.
    span: Range<u64>,
    /// `span.start` rounded down to a block of the top order: the frame of every bit 0.
    base: u64,
    /// By order: which blocks are free.
    free: [Bitmap<'a>; ORDERS],
    /// By order: how many blocks are free.
    blocks: [u64; ORDERS],
    /// Bit `k` is set exactly if `blocks[k]` is not zero.
    orders: u32,
    /// Frames in all free blocks.
    free_frames: u64,
    /// Frames ever added.
    total: u64,
}

impl<'a> Buddy<'a> {
    /// Words of storage that [`new`](Self::new) needs for `span`, page frame numbers with
    /// the end exclusive. 64 GiB need 4.06 MiB.
    ///
    /// # Panics
    ///
    /// If the span is inverted or goes past the 52 bits of a physical address.
    #[must_use]
    pub const fn storage_words(span: Range<u64>) -> usize {
        let top_blocks = top_blocks(&span);
        let mut words = 0;
        let mut order = 0;
        while order < ORDERS {
            words += Bitmap::storage_words(top_blocks << (MAX_ORDER - order));
            order += 1;
        }
        words
    }

    /// An allocator for `span` (page frame numbers, end exclusive) in which no frame is
    /// free yet.
    ///
    /// `storage` may hold anything: the words that are used are zeroed here, which is all
    /// the time that this takes.
    ///
    /// # Panics
    ///
    /// If `storage` is shorter than [`storage_words`](Self::storage_words)`(span)`, and
    /// where that panics.
    #[must_use]
    pub fn new(span: Range<u64>, storage: &'a mut [u64]) -> Self {
        let top_blocks = top_blocks(&span);
        let mut rest = storage;
        let free = core::array::from_fn(|order| {
            let bits = top_blocks << (MAX_ORDER - order);
            let words = rest.split_off_mut(..Bitmap::storage_words(bits));
            Bitmap::new(bits, words.expect("the frame allocator's storage is too short for its span"))
        });
        let base = span.start - span.start % MAX_RUN;
        Self { span, base, free, blocks: [0; ORDERS], orders: 0, free_frames: 0, total: 0 }
    }

    /// Gives frames (page frame numbers, end exclusive) to the allocator for the first
    /// time, whatever their alignment. Takes a step for every 4 MiB and a few at odd ends.
    /// An empty range does nothing.
    ///
    /// # Errors
    ///
    /// [`FreeError::OutsideSpan`]; [`FreeError::AlreadyFree`] if the range overlaps free
    /// frames. Nothing is added then. An overlap with frames that were added and are now
    /// allocated cannot be seen.
    pub fn add(&mut self, frames: Range<u64>) -> Result<(), FreeError> {
        self.check_run(&frames)?;
        self.total += frames.end.saturating_sub(frames.start);
        for block in blocks_of(frames) {
            self.merge_in(block);
        }
        Ok(())
    }

    /// Takes `2^order` contiguous frames, aligned to as much: the lowest block of the
    /// smallest order that has one, split if it is larger. Returns the page frame number
    /// of the first, or `None` if no block is large enough or `order` is above
    /// [`MAX_ORDER`].
    #[inline]
    #[must_use = "the frames are lost if the number is dropped"]
    pub fn allocate(&mut self, order: usize) -> Option<u64> {
        if order > MAX_ORDER {
            return None;
        }
        let large_enough = self.orders & (u32::MAX << order);
        if large_enough == 0 {
            return None;
        }
        let from = large_enough.trailing_zeros() as usize;
        let mut index = self.free[from].first()?;
        self.clear(from, index);
        for half in (order..from).rev() {
            index *= 2;
            self.set(half, index + 1);
        }
        self.free_frames -= 1 << order;
        Some(self.base + ((index as u64) << order))
    }

    /// Gives back `2^order` frames from `first_frame`, merged with every free buddy.
    ///
    /// They need not have been allocated as one block: any aligned part or union of
    /// allocated blocks will do.
    ///
    /// # Errors
    ///
    /// Every [`FreeError`]; nothing is changed then. A double free is always seen, of the
    /// whole block or of any part of it.
    #[inline]
    pub fn free(&mut self, first_frame: u64, order: usize) -> Result<(), FreeError> {
        if order > MAX_ORDER {
            return Err(FreeError::OrderTooLarge { order });
        }
        let block = Block { first_frame, order };
        if first_frame & (block.len() - 1) != 0 {
            return Err(FreeError::Misaligned { first_frame, order });
        }
        self.check_span(first_frame, first_frame | (block.len() - 1))?;
        self.check_not_free(block)?;
        self.check_allocated(block.len())?;
        self.merge_in(block);
        Ok(())
    }

    /// Number of free frames, exact.
    #[inline]
    #[must_use]
    pub const fn free_frames(&self) -> u64 {
        self.free_frames
    }

    /// Number of frames ever added; `total() - free_frames()` are allocated.
    #[inline]
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Order of the largest free block: the largest `order` for which
    /// [`allocate`](Self::allocate) succeeds. `None` if no frame is free.
    #[inline]
    #[must_use]
    pub const fn largest_free_order(&self) -> Option<usize> {
        match self.orders.checked_ilog2() {
            Some(order) => Some(order as usize),
            None => None,
        }
    }

    /// How many free blocks have exactly this order, not counting what could be split
    /// from larger ones; 0 above [`MAX_ORDER`].
    #[must_use]
    pub fn free_blocks(&self, order: usize) -> u64 {
        self.blocks.get(order).copied().unwrap_or(0)
    }

    /// The free block that `frame` lies in, if it is free; `None` also outside the span.
    #[must_use]
    pub fn free_block_of(&self, frame: u64) -> Option<Block> {
        if !self.span.contains(&frame) {
            return None;
        }
        let index = self.index(frame);
        let order = (0..ORDERS).find(|&order| self.free[order].get(index >> order))?;
        Some(self.block(order, index >> order))
    }

    /// Refuses frames `first..=last` unless they are in the span.
    #[inline]
    fn check_span(&self, first: u64, last: u64) -> Result<(), FreeError> {
        if !self.span.contains(&first) {
            return Err(FreeError::OutsideSpan { frame: first });
        }
        if last >= self.span.end {
            return Err(FreeError::OutsideSpan { frame: self.span.end });
        }
        Ok(())
    }

    /// Refuses to free more frames than are allocated.
    #[inline]
    pub(crate) fn check_allocated(&self, frames: u64) -> Result<(), FreeError> {
        let allocated = self.total - self.free_frames;
        if frames > allocated {
            return Err(FreeError::NeverAdded { frames, allocated });
        }
        Ok(())
    }

    /// Refuses a run that leaves the span or has a frame that is free.
    pub(crate) fn check_run(&self, run: &Range<u64>) -> Result<(), FreeError> {
        if run.is_empty() {
            return Ok(());
        }
        self.check_span(run.start, run.end - 1)?;
        blocks_of(run.clone()).try_for_each(|block| self.check_not_free(block))
    }

    /// Refuses a block (in the span) of which any frame is free.
    #[inline]
    fn check_not_free(&self, block: Block) -> Result<(), FreeError> {
        let index = self.index(block.first_frame);
        // In a free block of this order or above? A free buddy on the way up answers for
        // all orders above it: the block that would hold both cannot be free as well.
        for order in block.order..ORDERS {
            let index = index >> order;
            if self.free[order].get(index) {
                return Err(FreeError::AlreadyFree { block, found: self.block(order, index) });
            }
            if order < MAX_ORDER && self.free[order].get(index ^ 1) {
                break;
            }
        }
        // A part of it free? One masked load for every order below.
        for order in 0..block.order {
            if let Some(index) = self.free[order].first_in_group(index >> order, block.order - order) {
                return Err(FreeError::AlreadyFree { block, found: self.block(order, index) });
            }
        }
        Ok(())
    }

    /// Frees a block that has been checked.
    #[inline]
    pub(crate) fn merge_in(&mut self, block: Block) {
        self.free_frames += block.len();
        let mut order = block.order;
        let mut index = self.index(block.first_frame) >> order;
        while order < MAX_ORDER && self.free[order].get(index ^ 1) {
            self.clear(order, index ^ 1);
            index >>= 1;
            order += 1;
        }
        self.set(order, index);
    }

    /// Frees a block whose buddies at every order are known to be in use.
    #[inline]
    pub(crate) fn put_back(&mut self, block: Block) {
        self.free_frames += block.len();
        self.set(block.order, self.index(block.first_frame) >> block.order);
    }

    /// The largest order up to `order` that has a free block.
    #[inline]
    pub(crate) const fn largest_free_order_up_to(&self, order: usize) -> Option<usize> {
        match (self.orders & !(u32::MAX << 1 << order)).checked_ilog2() {
            Some(order) => Some(order as usize),
            None => None,
        }
    }

    /// Takes up to `count` of the lowest blocks of an order, those of one bitmap word:
    /// the blocks `i` steps of `2^order` frames above the returned frame, for every bit `i`
    /// that is set.
    #[inline]
    pub(crate) fn take_word(&mut self, order: usize, count: usize) -> Option<(u64, u64)> {
        let (first, bits) = self.free[order].take_word(count)?;
        let taken = u64::from(bits.count_ones());
        self.forget(order, taken);
        self.free_frames -= taken << order;
        Some((self.base + ((first as u64) << order), bits))
    }

    /// Index of a frame's bit in order 0; shifted right by an order, in that order.
    #[inline]
    const fn index(&self, frame: u64) -> usize {
        (frame - self.base) as usize
    }

    /// The inverse of [`index`](Self::index) for blocks.
    #[inline]
    const fn block(&self, order: usize, index: usize) -> Block {
        Block { first_frame: self.base + ((index as u64) << order), order }
    }

    /// Marks a block free in its order's bitmap and count.
    #[inline]
    fn set(&mut self, order: usize, index: usize) {
        self.free[order].set(index);
        self.blocks[order] += 1;
        self.orders |= 1 << order;
    }

    /// Marks a block not free in its order's bitmap and count.
    #[inline]
    fn clear(&mut self, order: usize, index: usize) {
        self.free[order].clear(index);
        self.forget(order, 1);
    }

    /// Takes `count` blocks out of an order's count.
    #[inline]
    fn forget(&mut self, order: usize, count: u64) {
        self.blocks[order] -= count;
        self.orders &= !(u32::from(self.blocks[order] == 0) << order);
    }
}

impl fmt::Debug for Buddy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buddy")
            .field("span", &self.span)
            .field("total", &self.total)
            .field("free_frames", &self.free_frames)
            .field("free_blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

/// Blocks of the top order that touch `span`; at least one, so that no bitmap is empty.
const fn top_blocks(span: &Range<u64>) -> usize {
    assert!(span.start <= span.end, "the frame allocator's span is inverted");
    assert!(span.end <= 1 << (52 - 12), "the frame allocator's span is past the physical address width");
    let blocks = span.end.div_ceil(MAX_RUN) - span.start / MAX_RUN;
    if blocks == 0 { 1 } else { blocks as usize }
}
