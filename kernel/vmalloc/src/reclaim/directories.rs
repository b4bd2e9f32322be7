//! Directories in which nothing is mapped any more are given back: unlinked, flushed, freed, in that order.
//!
//! A directory maps 512 blocks. When all of them are free the arena gives them out as one run, to nobody
//! but this module, so that nobody can link anything below meanwhile. A [`Gather`] collects unlinked
//! directories, so that one flush does for many: as many as a page of pointers holds if a frame for it is to
//! be had, eight if not. It needs no memory to get on, and only what was flushed has the method that frees.

use crate::{
    Vmalloc,
    page_table::directories,
    page_table::entry::Entry,
    page_table::flush::Unflushed,
    platform::{BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, Frame, PAGE_SIZE, Platform},
    types::policy::GatherPolicy,
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
    vmalloc: &'a Vmalloc<P>,
    on_stack: [AtomicU64; ON_STACK],
    page: Option<Frame>,
    limit: usize,
    count: usize,
}

/// Directories that no CPU can reach any more.
struct Flushed<'a, 'b, P: Platform>(&'b mut Gather<'a, P>);

impl<P: Platform> Vmalloc<P> {
    /// Gives back the directories below which nothing is mapped: how many. The caller has the turn.
    pub(crate) fn release_directories(&self) -> usize {
        let mut gather = Gather::new(self);
        let mut released = 0;
        let end = self.range.end & !(DIRECTORY_BLOCKS * BLOCK_SIZE - 1);
        // Of an instance at the very top of the address space there is none.
        let first = self.range.start.checked_next_multiple_of(DIRECTORY_BLOCKS * BLOCK_SIZE);
        let mut start = first.unwrap_or(end);
        // Directories that reach beyond the range may be others' too. Each turn looks at the next one.
        while start < end {
            if let Some(slot) = directories::directory_slot(&self.platform, start)
                && Entry(slot.load(Ordering::Acquire)).is_present()
                && self.take_directory_blocks(start)
            {
                gather.push(slot, self.block_number(start));
                released += 1;
            }
            start += DIRECTORY_BLOCKS * BLOCK_SIZE;
        }
        gather.flush().free();
        released
    }

    fn block_number(&self, address: usize) -> usize {
        (address - self.range.start) >> BLOCK_SHIFT
    }

    /// Takes the blocks of a directory if all are free.
    fn take_directory_blocks(&self, start: usize) -> bool {
        self.arena.allocate_at(&self.platform, self.block_number(start), DIRECTORY_BLOCKS).is_ok()
    }
}

impl<'a, P: Platform> Gather<'a, P> {
    fn new(vmalloc: &'a Vmalloc<P>) -> Self {
        let page = match vmalloc.policy.gather {
            GatherPolicy::Page => vmalloc.platform.take_table(),
            GatherPolicy::Stack | GatherPolicy::One => None,
        };
        let limit = match (page, vmalloc.policy.gather) {
            (Some(_), _) => BLOCK_PAGES,
            (None, GatherPolicy::One) => 1,
            (None, _) => ON_STACK,
        };
        Self { vmalloc, on_stack: [const { AtomicU64::new(0) }; ON_STACK], page, limit, count: 0 }
    }

    fn slots(&self) -> &[AtomicU64] {
        match self.page {
            // SAFETY: the gather took the frame, full of zeros, and has it until it is dropped.
            Some(page) => unsafe { directories::table(&self.vmalloc.platform, page) }.as_slice(),
            None => &self.on_stack,
        }
    }

    /// Unlinks a directory whose blocks, from number `first`, were taken.
    fn push(&mut self, slot: &AtomicU64, first: usize) {
        let directory = Entry(slot.swap(Entry::UNUSED.0, Ordering::AcqRel)).frame();
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
            Unflushed::for_speculation((), self.vmalloc.range.clone()).flush(self.vmalloc);
        }
        Flushed(self)
    }
}

impl<P: Platform> Flushed<'_, '_, P> {
    /// Gives back the directories, and their blocks.
    fn free(self) {
        let gather = self.0;
        let vmalloc = gather.vmalloc;
        for slot in &gather.slots()[..gather.count] {
            let entry = slot.load(Ordering::Relaxed);
            vmalloc.platform.give_table(Frame::new(entry >> BLOCK_BITS));
            let first = (entry & ((1 << BLOCK_BITS) - 1)) as usize;
            vmalloc.arena.free(&vmalloc.platform.pin(), first, DIRECTORY_BLOCKS);
        }
        gather.count = 0;
    }
}

impl<P: Platform> Drop for Gather<'_, P> {
    fn drop(&mut self) {
        assert!(self.count == 0, "{} directories were dropped before they were flushed", self.count);
        if let Some(page) = self.page.take() {
            self.vmalloc.platform.give_table(page);
        }
    }
}
