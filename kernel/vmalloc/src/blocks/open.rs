//! Taking whole blocks from the arena, linking leaf tables under them, and giving both back.
//!
//! A CPU keeps a few leaf tables that went out of use, full of zeros and flushed, so that an area
//! of some blocks that comes and goes does not clear 4 KiB for each of them every time.

use crate::{
    AllocError, Vmalloc,
    arena::ArenaError,
    blocks::block::Block,
    lock::{Lock, Locked},
    page_table::directories,
    page_table::entry::Entry,
    platform::{BLOCK_SHIFT, CpuPin, Frame, LockClass, Platform},
};
use core::{
    iter,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// The most leaf tables that a CPU's reserve can hold.
pub(crate) const RESERVE_CAPACITY: usize = 16;

/// Leaf tables out of use: all their entries are zero and no CPU has cached a way to them.
pub(crate) struct Reserve(Lock<Tables>);

/// The first of them count, as many as there are.
type Tables = ([Frame; RESERVE_CAPACITY], usize);

impl Locked for Tables {
    const CLASS: LockClass = LockClass::Reserve;
}

impl Reserve {
    pub const fn new() -> Self {
        Self(Lock::new(([Frame::new(0); RESERVE_CAPACITY], 0)))
    }

    fn pop(&self, pin: &impl CpuPin) -> Option<Frame> {
        let (tables, len) = &mut *self.0.lock(pin);
        *len = len.checked_sub(1)?;
        Some(tables[*len])
    }

    /// Gives the table back to the caller if there are `limit` already.
    fn push(&self, pin: &impl CpuPin, table: Frame, limit: usize) -> Result<(), Frame> {
        let (tables, len) = &mut *self.0.lock(pin);
        if *len >= limit.min(RESERVE_CAPACITY) {
            return Err(table);
        }
        tables[*len] = table;
        *len += 1;
        Ok(())
    }

    pub fn len(&self, pin: &impl CpuPin) -> usize {
        self.0.lock(pin).1
    }
}

impl From<ArenaError> for AllocError {
    fn from(error: ArenaError) -> Self {
        match error {
            ArenaError::NoRun => Self::OutOfAddressSpace,
            ArenaError::NoFrame => Self::OutOfFrames,
        }
    }
}

impl<P: Platform> Vmalloc<P> {
    /// Takes a run of `count` blocks, aligned to `align` blocks of address space, with `below` blocks below it, all
    /// inside `within` if that is given, from the arena: the first one above those.
    pub(crate) fn open_blocks(
        &self,
        below: usize,
        count: usize,
        align: usize,
        within: Option<Range<usize>>,
    ) -> Result<usize, AllocError> {
        // Block numbers count from the start of the range, alignment is that of addresses.
        let offset = (self.range.start >> BLOCK_SHIFT) + below;
        let within = within.unwrap_or(0..self.blocks());
        let first =
            self.arena.allocate(&self.platform, below + count, align, offset & (align - 1), within)?;
        Ok(first + below)
    }

    /// The descriptor of a block that the caller has, and whose descriptor was made.
    #[inline]
    pub(crate) fn block(&self, number: usize) -> &Block {
        match self.table.get_owned(number) {
            Some(block) => block,
            None => unreachable!("block {number} was opened and has a descriptor"),
        }
    }

    /// The blocks that have descriptors, from the lowest up. They may lose them at any time.
    pub(crate) fn known_blocks(&self) -> impl Iterator<Item = usize> {
        let mut from = 0;
        iter::from_fn(move || {
            // A pin for each look at a directory: an instance may have many. Ends: `from` grows with each.
            while from < self.blocks() {
                match self.table.next(from, &self.platform.pin()) {
                    Ok(number) => {
                        from = number + 1;
                        return Some(number).filter(|&number| number < self.blocks());
                    }
                    Err(next) => from = next,
                }
            }
            None
        })
    }

    /// The directory entry of a block that had its directories made.
    pub(crate) fn block_entry(&self, number: usize) -> Option<&AtomicU64> {
        directories::block_entry(&self.platform, self.address(number, 0))
    }

    /// Makes the descriptor and the directories of an open block.
    pub(crate) fn make_block(&self, number: usize) -> Result<(&Block, &AtomicU64), AllocError> {
        let block = self.table.make(&self.platform, number).ok_or(AllocError::OutOfFrames)?;
        let entry = directories::make_block_entry(&self.platform, self.address(number, 0));
        Ok((block, entry.ok_or(AllocError::OutOfFrames)?))
    }

    /// Gives an open block a leaf table of zeros. An entry that was not present is never cached,
    /// so linking one needs no flush.
    pub(crate) fn link_leaf(&self, number: usize) -> Result<&Block, AllocError> {
        let (block, entry) = self.open_leaf(number)?;
        // Release: a CPU that walks through the link finds the zeros.
        entry.store(block.link().unwrap_or(Entry::UNUSED).0, Ordering::Release);
        Ok(block)
    }

    /// Gives an open block a leaf table of zeros, and leaves it to the caller to link it, by the entry: no CPU reaches the
    /// table so far.
    pub(crate) fn open_leaf(&self, number: usize) -> Result<(&Block, &AtomicU64), AllocError> {
        let (block, entry) = self.make_block(number)?;
        let frame = self.take_leaf().ok_or(AllocError::OutOfFrames)?;
        block.set_leaf(Some(frame));
        debug_assert!(Entry(entry.load(Ordering::Relaxed)).is_unused());
        Ok((block, entry))
    }

    /// Takes a block in which nothing is allocated out of use: its leaf table is unlinked, and waits for
    /// a flush with the frames in it. The block is in no list, and its role says that it is freed.
    pub(crate) fn close_block(&self, pin: &P::Pin, number: usize) {
        if let Some(entry) = self.block_entry(number) {
            entry.store(0, Ordering::Relaxed);
        }
        // All pages were flushed when they were freed. What is left is the way to the table in the
        // paging-structure caches.
        self.block(number).pages.lock(pin).retire_all();
        self.push_lazy(pin, number);
    }

    pub(crate) fn take_leaf(&self) -> Option<Frame> {
        let pin = self.platform.pin();
        let kept = self.reserves[pin.cpu()].pop(&pin);
        drop(pin);
        kept.or_else(|| self.platform.take_table())
    }

    /// Leaf tables in this CPU's reserve.
    pub(crate) fn tables_here(&self) -> usize {
        let pin = self.platform.pin();
        self.reserves[pin.cpu()].len(&pin)
    }

    /// Takes back a leaf table, unlinked and flushed, whose entries are all zero.
    pub(crate) fn give_leaf(&self, leaf: Frame) {
        let pin = self.platform.pin();
        let limit = self.tunables.table_reserve.load(Ordering::Relaxed);
        if let Err(leaf) = self.reserves[pin.cpu()].push(&pin, leaf, limit) {
            self.platform.give_table(leaf);
        }
    }

    /// Gives all reserves back to the machine.
    pub(crate) fn empty_reserves(&self) {
        for reserve in &self.reserves {
            // As many as it held at most: its CPU may add to it meanwhile.
            for _ in 0..RESERVE_CAPACITY {
                let Some(leaf) = reserve.pop(&self.platform.pin()) else { break };
                self.platform.give_table(leaf);
            }
        }
    }
}
