//! Directories in which nothing is mapped any more are given back: unlinked, flushed, freed, in that order.
//!
//! A directory maps 512 blocks. When all of them are free the arena gives them out as one run, to nobody
//! but this module, so that nobody can link anything below meanwhile. Unlinked directories are gathered, so that one
//! flush does for many: as many as a page of pointers holds if a frame for it is to be had, eight if not. It works
//! without memory. Only what was flushed is freed.

use super::Reclaim;
use crate::{
    BLOCK_PAGES, BLOCK_SIZE, Frame, GatherPolicy, PAGE_SIZE, Platform,
    page_table::{directories, flush::Unflushed},
};

/// Blocks that a directory maps.
const DIRECTORY_BLOCKS: usize = PAGE_SIZE / size_of::<u64>();
/// Bytes that they are.
const DIRECTORY_BYTES: usize = DIRECTORY_BLOCKS * BLOCK_SIZE;
/// Directories that are gathered without a frame to write them down in.
const ON_STACK: usize = 8;
/// As what is gathered: the directory's frame above, the number of its first block below.
const BLOCK_BITS: u32 = 24;
const _: () = assert!(crate::arena::MAX_BLOCKS <= 1 << BLOCK_BITS);

impl<P: Platform> Reclaim<P> {
    /// Gives back the directories below which nothing is mapped: how many. The caller has the turn.
    pub fn release_directories(&self) -> usize {
        let (platform, gather) = (self.platform(), self.base().policy.gather);
        let page = if gather == GatherPolicy::Page { platform.take_table() } else { None };
        let mut on_stack = [0; ON_STACK];
        let places = match page {
            // SAFETY: promise 2 of `Platform`; the frame was taken just now, full of zeros, and goes back below.
            Some(page) => unsafe { platform.direct_map(page).cast::<[u64; BLOCK_PAGES]>().as_mut() },
            None if gather == GatherPolicy::One => &mut on_stack[..1],
            None => &mut on_stack[..],
        };
        let range = &self.base().span.range;
        let end = range.end & !(DIRECTORY_BYTES - 1);
        // Directories that reach beyond the range may be others' too. Of an instance at the very top of the address space
        // there is none.
        let start = range.start.checked_next_multiple_of(DIRECTORY_BYTES).unwrap_or(end);
        let starts = (start..end).step_by(DIRECTORY_BYTES);
        let mut unlinked = starts.filter_map(|start| self.unlink_directory(start));
        let mut released = 0;
        loop {
            let mut gathered = 0;
            // One is unlinked only when there is a place for it.
            for (place, entry) in places.iter_mut().zip(&mut unlinked) {
                *place = entry;
                gathered += 1;
            }
            if gathered == 0 {
                break;
            }
            // More than are flushed one by one: the paging-structure caches are emptied with everything.
            let entries = Unflushed::for_speculation(&places[..gathered], range.clone());
            for entry in entries.flush(self.base()) {
                platform.give_table(Frame::new(entry >> BLOCK_BITS));
                let first = (entry & ((1 << BLOCK_BITS) - 1)) as usize;
                self.blocks().give_back(first, DIRECTORY_BLOCKS);
            }
            released += gathered;
        }
        page.into_iter().for_each(|page| platform.give_table(page));
        released
    }

    /// Unlinks the directory of the addresses from `start` on, if there is one and all its blocks are free. Nobody else
    /// has any of these from now on, nor can get one. Returns what is to be gathered.
    fn unlink_directory(&self, start: usize) -> Option<u64> {
        let (platform, first) = (self.platform(), self.base().span.block_at(start));
        let slot = directories::directory_slot(platform, start).filter(|slot| slot.look().is_present())?;
        self.blocks().arena.allocate_at(platform, first, DIRECTORY_BLOCKS).ok()?;
        Some(slot.take().frame().number() << BLOCK_BITS | first as u64)
    }
}
