//! Directories in which nothing is mapped any more are given back: unlinked, flushed, freed, in that order.
//!
//! A directory maps 512 blocks. When all of them are free the arena gives them out as one run, to this module
//! alone, so that nobody can link anything below meanwhile. Unlinked directories are gathered, so that one
//! flush serves many: as many as a page of pointers holds if there is a frame for it, eight if not. So this
//! works without memory. Only what was flushed is freed.

use super::Reclaim;
use crate::{
    BLOCK_PAGES, ForeignEntry, Frame, GatherPolicy, PAGE_SIZE, Platform, Returned,
    page_table::{directories, flush::Unflushed, slot::Slot},
    types::Caller,
};

/// Blocks that a directory maps.
const DIRECTORY_BLOCKS: usize = PAGE_SIZE / size_of::<u64>();
/// Directories that are gathered without a frame to write them down in.
const ON_STACK: usize = 8;
/// As what is gathered: the directory's frame above, the number of its first block below.
const BLOCK_BITS: u32 = 24;
const _: () = assert!(crate::arena::MAX_BLOCKS <= 1 << BLOCK_BITS);

impl<P: Platform> Reclaim<P> {
    /// Gives back the directories below which nothing is mapped: how many. The caller has the turn.
    pub fn release_directories(&self, caller: Caller) -> usize {
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
        // Directories that reach beyond the range may be others' too.
        let lower = directories::lower(platform, &self.blocks().made_up_to.of(range));
        let mut unlinked = lower.filter_map(|(start, slot)| self.unlink_directory(start, slot));
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
            for entry in entries.flush(self.base(), caller) {
                platform.give_table(Returned::new(Frame::new(entry >> BLOCK_BITS)));
                let first = (entry & ((1 << BLOCK_BITS) - 1)) as usize;
                self.blocks().give_back(first, DIRECTORY_BLOCKS);
            }
            released += gathered;
        }
        page.into_iter().for_each(|page| platform.give_table(Returned::new(page)));
        released
    }

    /// Unlinks the directory of the addresses from `start` on, which this slot links, if all its blocks are free. Nobody else
    /// has any of these from now on, nor can get one. Returns what is to be gathered.
    fn unlink_directory(&self, start: usize, slot: &Slot) -> Option<u64> {
        let first = self.base().span.block_at(start);
        self.blocks().arena.allocate_at(self.platform(), first, DIRECTORY_BLOCKS).ok()?;
        // SAFETY: promise 4 of `Platform`: the slot links a directory, which goes back after this.
        let entries = unsafe { directories::table(self.platform(), slot.get().frame()) };
        let foreign = entries.iter().position(|slot| !slot.is_unused());
        if let Some(index) = foreign {
            let (address, entry) = (self.base().span.address(first + index, 0), entries[index].get().0);
            panic!("{}", ForeignEntry { address, entry });
        }
        Some(slot.take().frame().number() << BLOCK_BITS | first as u64)
    }
}
