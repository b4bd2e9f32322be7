//! Directories in which nothing is mapped any more are given back: unlinked, flushed, freed, in that order.
//!
//! A directory maps 512 blocks. When all of them are free the arena gives them out as one run, to nobody
//! but this module, so that nobody can link anything below meanwhile. A [`Gather`] collects unlinked
//! directories, so that one flush does for many: as many as a page of pointers holds if a frame for it is to
//! be had, eight if not. It needs no memory to get on, and only what was flushed has the method that frees.

use super::Reclaim;
use crate::{
    BLOCK_PAGES, BLOCK_SIZE, Frame, GatherPolicy, PAGE_SIZE, Platform,
    blocks::Blocks,
    page_table::{directories, flush::Unflushed, slot::Slot},
};
use core::sync::atomic::{AtomicU64, Ordering};

/// Blocks that a directory maps.
const DIRECTORY_BLOCKS: usize = PAGE_SIZE / size_of::<u64>();
/// Directories that are collected without a frame to write them down in.
const ON_STACK: usize = 8;
/// As an entry of a gather: the directory's frame above, the number of its first block below.
const BLOCK_BITS: u32 = 24;
const _: () = assert!(crate::arena::MAX_BLOCKS <= 1 << BLOCK_BITS);

/// Directories that were unlinked, and whose blocks nobody else has.
struct Gather<'a, P: Platform> {
    blocks: &'a Blocks<P>,
    on_stack: [AtomicU64; ON_STACK],
    page: Option<Frame>,
    limit: usize,
    count: usize,
}

/// Directories that no CPU can reach any more.
struct Flushed<'a, 'b, P: Platform>(&'b mut Gather<'a, P>);

impl<P: Platform> Reclaim<P> {
    /// Gives back the directories below which nothing is mapped: how many. The caller has the turn.
    pub fn release_directories(&self) -> usize {
        const BYTES: usize = DIRECTORY_BLOCKS * BLOCK_SIZE;
        let blocks = self.blocks();
        let mut gather = Gather::new(blocks);
        let mut released = 0;
        let range = blocks.span().range();
        let end = range.end & !(BYTES - 1);
        // Directories that reach beyond the range may be others' too. Of an instance at the very top of the address space
        // there is none.
        let start = range.start.checked_next_multiple_of(BYTES).unwrap_or(end);
        for start in (start..end).step_by(BYTES) {
            let first = blocks.span().block_at(start);
            if let Some(slot) = directories::directory_slot(blocks.platform(), start)
                && slot.look().is_present()
                // Nobody else has any of its blocks, nor can get one.
                && blocks.arena.allocate_at(blocks.platform(), first, DIRECTORY_BLOCKS).is_ok()
            {
                gather.push(slot, first);
                released += 1;
            }
        }
        gather.flush().free();
        released
    }
}

impl<'a, P: Platform> Gather<'a, P> {
    fn new(blocks: &'a Blocks<P>) -> Self {
        let gather = blocks.base.policy.gather;
        let page = match gather {
            GatherPolicy::Page => blocks.platform().take_table(),
            GatherPolicy::Stack | GatherPolicy::One => None,
        };
        let limit = match (page, gather) {
            (Some(_), _) => BLOCK_PAGES,
            (None, GatherPolicy::One) => 1,
            (None, _) => ON_STACK,
        };
        Self { blocks, on_stack: [const { AtomicU64::new(0) }; ON_STACK], page, limit, count: 0 }
    }

    fn slots(&self) -> &[AtomicU64] {
        match self.page {
            // SAFETY: promise 2 of `Platform`; the gather took the frame, full of zeros, and has it until it is dropped.
            Some(page) => unsafe {
                self.blocks.platform().direct_map(page).cast::<[AtomicU64; BLOCK_PAGES]>().as_ref()
            },
            None => &self.on_stack,
        }
    }

    /// Unlinks a directory whose blocks, from number `first`, were taken.
    fn push(&mut self, slot: &Slot, first: usize) {
        let directory = slot.take().frame();
        self.slots()[self.count].store(directory.number() << BLOCK_BITS | first as u64, Ordering::Relaxed);
        self.count += 1;
        if self.count == self.limit {
            self.flush().free();
        }
    }

    /// Makes every CPU forget the way through the directories.
    fn flush(&mut self) -> Flushed<'a, '_, P> {
        if self.count > 0 {
            // More than are flushed one by one: the paging-structure caches are emptied with everything.
            let range = self.blocks.span().range().clone();
            Unflushed::for_speculation((), range).flush(&self.blocks.base);
        }
        Flushed(self)
    }
}

impl<P: Platform> Flushed<'_, '_, P> {
    /// Gives back the directories, and their blocks.
    fn free(self) {
        let gather = self.0;
        let blocks = gather.blocks;
        for slot in &gather.slots()[..gather.count] {
            let entry = slot.load(Ordering::Relaxed);
            blocks.platform().give_table(Frame::new(entry >> BLOCK_BITS));
            let first = (entry & ((1 << BLOCK_BITS) - 1)) as usize;
            blocks.give_back(first, DIRECTORY_BLOCKS);
        }
        gather.count = 0;
    }
}

impl<P: Platform> Drop for Gather<'_, P> {
    fn drop(&mut self) {
        assert!(self.count == 0, "{} directories were dropped before they were flushed", self.count);
        if let Some(page) = self.page.take() {
            self.blocks.platform().give_table(page);
        }
    }
}
