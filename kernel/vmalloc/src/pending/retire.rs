//! Retiring pages and blocks, and the lists that they wait in.

use super::{Pending, Pressure};
use crate::{
    BLOCK_PAGES, CpuPin, Owner, Platform,
    blocks::{Block, NO_BLOCK, Pages, Role},
};
use core::{iter, ops::Range, sync::atomic::Ordering};

impl<P: Platform> Pending<P> {
    /// `count` pages of a block, which show frames of `owner`'s, were unmapped: they wait for a flush.
    #[inline(always)]
    pub fn retire(&self, pin: &P::Pin, block: &Block, first: usize, count: usize, owner: Owner) -> Pressure {
        let mut pages = block.pages.lock(pin);
        pages.make_dirty(first, count, owner);
        self.enlist(pin, block, &mut pages);
        drop(pages);
        self.count(pin, count)
    }

    /// Puts a block whose pages were made dirty, and are `pages`, into a list, unless it is in one. This is done under the block's
    /// lock: whoever retires other pages of it finds it marked as listed, and relies on a purge that begins then to find it.
    #[inline(always)]
    pub fn enlist(&self, pin: &P::Pin, block: &Block, pages: &mut Pages) {
        if pages.enlist() {
            self.push(pin, block);
        }
    }

    /// Retires pages that were cut off an area in a block: see
    /// [`Pages::cut`](crate::blocks::Pages::cut).
    #[inline(always)]
    pub fn retire_cut(&self, pin: &P::Pin, block: &Block, first: usize, count: usize) -> Pressure {
        let mut pages = block.pages.lock(pin);
        pages.cut(first, count);
        self.enlist(pin, block, &mut pages);
        drop(pages);
        self.count(pin, count)
    }

    /// Retires a run of `count` blocks from block `first` on that was unmapped, with the tables and frames that its roles
    /// tell of.
    pub fn retire_run(&self, pin: &P::Pin, first: &Block, count: usize) -> Pressure {
        self.retire_block(pin, first);
        self.count(pin, count * BLOCK_PAGES)
    }

    /// Retires a block of which no page is live or dirty: its leaf table is unlinked, and waits for a flush with the
    /// frames in it. It is in no list, and its role says that it is freed. Its pages were counted when they were freed:
    /// what is left is the way to the table in the paging-structure caches.
    pub fn close(&self, pin: &P::Pin, block: &Block) {
        if let Some(slot) = self.blocks.directory_slot(block.number()) {
            slot.set_unused();
        }
        self.retire_block(pin, block);
    }

    fn retire_block(&self, pin: &P::Pin, block: &Block) {
        block.pages.lock(pin).retire_all();
        self.push(pin, block);
    }

    /// Puts a block into the current CPU's list. It is in none.
    pub fn push(&self, pin: &P::Pin, block: &Block) {
        self.cpus.of(pin.cpu()).list.push(block.number() as u32, &block.next_lazy);
    }

    /// Takes the CPUs' lists, for [`look`](Self::look) and then [`visit`](Self::visit). The caller has the turn.
    pub fn take_lists(&self) {
        for cpu in self.cpus.iter() {
            let first = if cpu.list.is_empty() { NO_BLOCK } else { cpu.list.take() };
            // Only who has the turn uses it.
            cpu.taken.store(first, Ordering::Relaxed);
        }
    }

    /// Has `look`, which runs pinned, look at each block of the lists that were taken, which stays there. Returns what it
    /// returns, which comes when the pin is gone. The caller has the turn.
    pub fn look<T>(&self, mut look: impl FnMut(&P::Pin, &Block) -> T) -> impl Iterator<Item = T> {
        // Its link is read behind `look`, which writes to that line of memory and so has it brought for both.
        self.walk(move |pin, block| {
            let told = look(pin, block);
            (block.next_in_list(), told)
        })
    }

    /// Has `visit` look at the blocks as [`look`](Self::look) does, and push them to other lists if it likes.
    pub fn visit<T>(&self, mut visit: impl FnMut(&P::Pin, &Block) -> T) -> impl Iterator<Item = T> {
        self.walk(move |pin, block| {
            // Read before the block may be pushed to another list.
            let next = block.next_in_list();
            (next, visit(pin, block))
        })
    }

    /// Goes through the lists that were taken; `step` returns the number of the next block, and what is told of this one.
    fn walk<T>(&self, mut step: impl FnMut(&P::Pin, &Block) -> (u32, T)) -> impl Iterator<Item = T> {
        let (mut cpus, mut next) = (self.cpus.iter(), NO_BLOCK);
        iter::from_fn(move || {
            while next == NO_BLOCK {
                next = cpus.next()?.taken.load(Ordering::Relaxed);
            }
            let pin = self.blocks.platform().pin();
            let block = self.blocks.block(next as usize, &pin);
            let told;
            (next, told) = step(&pin, block);
            Some(told)
        })
    }

    /// Whether nothing waits for a flush, but for what a purge has taken that is under way.
    pub fn is_empty(&self) -> bool {
        self.cpus.iter().all(|cpu| cpu.list.is_empty() && !cpu.has_deferred())
    }

    /// Tells `sink` what was freed and waits for a flush: ranges of addresses, the lowest first. Areas that interrupt
    /// handlers freed come when a purge has looked at them.
    pub fn ranges(&self, mut sink: impl FnMut(Range<usize>)) {
        for number in self.blocks.known() {
            let mut from = 0;
            // Ends with the block: each run begins behind the one before.
            while let Some((first, end)) = self.run_in(number, from) {
                let span = self.blocks.span();
                sink(span.address(number, first)..span.address(number, end));
                from = end;
            }
        }
    }

    /// The first run of pages, at or above page `from` of a block, that waits.
    fn run_in(&self, number: usize, from: usize) -> Option<(usize, usize)> {
        let pin = self.blocks.platform().pin();
        let block = self.blocks.find(number, &pin)?;
        let pages = block.pages.lock(&pin);
        match block.role() {
            role if role.has_pages() => pages.stale_runs(from).next(),
            Role::Cached { flushed: false, .. } if from == 0 => Some((0, BLOCK_PAGES)),
            Role::Freed { blocks, scattered: false } if from == 0 => Some((0, blocks as usize * BLOCK_PAGES)),
            _ => None,
        }
    }
}
