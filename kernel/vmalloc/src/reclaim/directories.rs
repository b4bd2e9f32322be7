//! Directories in which nothing is mapped any more are given back: unlinked, flushed, freed, in that order.
//!
//! A directory maps 512 blocks. When all of them are free the arena gives them out as one run, to nobody
//! but this module, so that nobody can link anything below meanwhile. A [`Gather`] collects unlinked
//! directories, so that one flush does for many: as many as a page of pointers holds if a frame for it is to
//! be had, eight if not. It works without memory. Only what was flushed can be freed.

use super::Reclaim;
use crate::{
    BLOCK_PAGES, Frame, GatherPolicy, PAGE_SIZE, Platform,
    blocks::Blocks,
    page_table::{directories, flush::Unflushed, slot::Slot},
};

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
    /// Where they are written down, as [`BLOCK_BITS`] says.
    entries: &'a mut [u64],
    count: usize,
}

impl<P: Platform> Reclaim<P> {
    /// Gives back the directories below which nothing is mapped: how many. The caller has the turn.
    pub fn release_directories(&self) -> usize {
        let blocks = self.blocks();
        let gather = blocks.base.policy.gather;
        let page = if gather == GatherPolicy::Page { blocks.platform().take_table() } else { None };
        let mut on_stack = [0; ON_STACK];
        let entries = match page {
            // SAFETY: promise 2 of `Platform`; the frame was taken just now, full of zeros, and goes back below.
            Some(page) => unsafe { blocks.platform().direct_map(page).cast::<[u64; BLOCK_PAGES]>().as_mut() },
            None if gather == GatherPolicy::One => &mut on_stack[..1],
            None => &mut on_stack[..],
        };
        let mut gather = Gather { blocks, entries, count: 0 };
        let mut released = 0;
        // Directories that reach beyond the range may be others' too.
        for (start, slot) in directories::lower(blocks.platform(), &blocks.span().range) {
            let first = blocks.span().block_at(start);
            // Nobody else has any of its blocks, nor can get one.
            if blocks.arena.allocate_at(blocks.platform(), first, DIRECTORY_BLOCKS).is_ok() {
                gather.push(slot, first);
                released += 1;
            }
        }
        gather.release();
        drop(gather);
        page.into_iter().for_each(|page| blocks.platform().give_table(page));
        released
    }
}

impl<P: Platform> Gather<'_, P> {
    /// Unlinks a directory whose blocks, from number `first`, were taken.
    fn push(&mut self, slot: &Slot, first: usize) {
        let directory = slot.take().frame();
        self.entries[self.count] = directory.number() << BLOCK_BITS | first as u64;
        self.count += 1;
        if self.count == self.entries.len() {
            self.release();
        }
    }

    /// Makes every CPU forget the way through the directories, then gives them back, and their blocks.
    fn release(&mut self) {
        if self.count == 0 {
            return;
        }
        // More than are flushed one by one: the paging-structure caches are emptied with everything.
        let range = self.blocks.span().range.clone();
        let unlinked = Unflushed::for_speculation(&self.entries[..self.count], range);
        for entry in unlinked.flush(&self.blocks.base) {
            self.blocks.platform().give_table(Frame::new(entry >> BLOCK_BITS));
            let first = (entry & ((1 << BLOCK_BITS) - 1)) as usize;
            self.blocks.give_back(first, DIRECTORY_BLOCKS);
        }
        self.count = 0;
    }
}

impl<P: Platform> Drop for Gather<'_, P> {
    fn drop(&mut self) {
        assert!(self.count == 0, "{} directories were dropped before they were flushed", self.count);
    }
}
