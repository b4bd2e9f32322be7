//! Areas that are runs of blocks of their own.

use crate::{
    AllocError, Vmalloc,
    blocks::block::{Block, Role},
    blocks::split::Mapping,
    calls::area::{claim_any, clear, publish, unmap},
    page_table::entry::{Entry, GuardInfo},
    platform::{BLOCK_PAGES, Frame, Platform},
    reclaim::shortage::frames_for,
    types::request::{Backing, Shape},
};
use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// Blocks of a run of `pages` pages and its guard page.
pub(crate) fn blocks_for(pages: usize) -> usize {
    (pages + 1).div_ceil(BLOCK_PAGES)
}

impl<P: Platform> Vmalloc<P> {
    pub(crate) fn allocate_run(&self, shape: &Shape<'_>, guard: GuardInfo) -> Result<usize, AllocError> {
        if !shape.guard_below
            && let Some(made) = self.allocate_kept(shape, guard)
        {
            return made;
        }
        let count = blocks_for(shape.pages);
        let align = (shape.align / BLOCK_PAGES).max(1);
        let below = usize::from(shape.guard_below);
        // Those of a request that cannot be met are not taken from others.
        let in_reserve = self.tables_here();
        if frames_for(shape) > self.platform.free_frames().saturating_add(in_reserve) {
            return Err(AllocError::OutOfFrames);
        }
        let first = self.open_run(below, count, align, shape.within.clone())?;
        for index in 0..count {
            if let Err(error) = self.fill_block(first + index, index * BLOCK_PAGES, shape) {
                self.abandon_blocks(first..first + index + 1, first - below..first + count);
                return Err(error);
            }
        }
        (first..first + count).for_each(|number| self.link_block(number));
        if shape.guard_below {
            self.set_block_below(first);
        }
        self.finish_run(first, shape.pages, guard);
        Ok(self.address(first, 0))
    }

    /// Takes a run of `count` blocks, with `below` blocks, one or none, to be a guard below them: the first one
    /// above that.
    pub(crate) fn open_run(
        &self,
        below: usize,
        count: usize,
        align: usize,
        within: Option<Range<usize>>,
    ) -> Result<usize, AllocError> {
        let first = self.open_blocks(below, count, align, within)?;
        if below > 0 && self.table.make(&self.platform, first - below).is_none() {
            self.arena.free_run(&self.platform, first - below, below + count);
            return Err(AllocError::OutOfFrames);
        }
        Ok(first)
    }

    /// Makes the block below the run that starts, or is to start, at block `first` its guard.
    pub(crate) fn set_block_below(&self, first: usize) {
        let start = self.run_entry(first, 0);
        start.store(Entry(start.load(Ordering::Relaxed)).with_guard_below().0, Ordering::Relaxed);
        self.block(first - 1).set_role(Role::GuardBelow);
    }

    /// Makes a run known whose pages are all mapped: guard, roles, and the first page last.
    pub(crate) fn finish_run(&self, first: usize, pages: usize, guard: GuardInfo) {
        let count = blocks_for(pages);
        let guard_entry = self.run_entry(first, pages);
        guard_entry.store(Entry::guard(guard).0, Ordering::Relaxed);
        for index in 1..count {
            self.block(first + index).set_role(Role::Tail { behind: index as u32 });
        }
        self.set_head(first, count);
        publish(self.run_entry(first, 0), self.run_entry(first, pages - 1));
    }

    /// Writes down at a run's first block how long it is, and how many of its blocks are mapped by
    /// 2 MiB pages: look-ups need not walk it.
    pub(crate) fn set_head(&self, first: usize, count: usize) {
        let huge = (first..first + count).filter(|&number| self.block(number).leaf(&self.platform).is_none());
        let huge = huge.count() as u32;
        self.block(first).set_role(Role::Head { blocks: count as u32, huge });
    }

    /// Gives a block that was just opened the tables and frames for the pages of the area that lie in it, from page
    /// `from` of the area on. No CPU reaches them before [`link_block`](Self::link_block).
    pub(crate) fn fill_block(&self, number: usize, from: usize, shape: &Shape<'_>) -> Result<(), AllocError> {
        let pages = (shape.pages - from).min(BLOCK_PAGES);
        if let Backing::Owned { huge: true } = shape.backing
            && pages == BLOCK_PAGES
            && let Some(frame) = self.platform.take_huge_frame()
        {
            return self.map_huge(number, frame, shape);
        }
        let block = self.open_leaf(number)?.0;
        let Some(leaf) = block.leaf(&self.platform) else { unreachable!("just made") };
        if self.fill(&leaf[..pages], from, shape) < pages {
            return Err(AllocError::OutOfFrames);
        }
        Ok(())
    }

    fn map_huge(&self, number: usize, frame: Frame, shape: &Shape<'_>) -> Result<(), AllocError> {
        let entry = match self.make_block(number) {
            Ok((_, entry)) => entry,
            Err(error) => {
                self.platform.give_huge_frame(frame);
                return Err(error);
            }
        };
        if shape.attributes.are_zeroed() {
            (0..BLOCK_PAGES as u64).for_each(|page| self.zero(Frame::new(frame.number() + page)));
        }
        entry.store(Entry::huge(frame, shape.attributes).quarantined().0, Ordering::Relaxed);
        Ok(())
    }

    /// Maps a block that was filled.
    pub(crate) fn link_block(&self, number: usize) {
        let Some(link) = self.block_entry(number) else { unreachable!("block {number} was filled") };
        let mapped = match self.block(number).link() {
            Some(table) => table,
            None => Entry(link.load(Ordering::Relaxed)).mapped(),
        };
        // Release: a CPU that walks through the entry finds what the table says, and zeros where they were asked for.
        link.store(mapped.0, Ordering::Release);
    }

    /// Gives back the blocks `all`, of which those `filled` were filled, perhaps the last of them in part, and none
    /// linked: no CPU can reach anything of them, so it needs no flush.
    pub(crate) fn abandon_blocks(&self, filled: Range<usize>, all: Range<usize>) {
        for number in filled {
            let Some(block) = self.table.get_owned(number) else { continue };
            if let Some(leaf) = block.leaf(&self.platform) {
                let used = leaf.iter().map(clear).take_while(|entry| entry.is_present());
                self.platform.give_frames(used.filter(|entry| entry.is_owned()).map(Entry::frame));
                block.set_leaf(None).into_iter().for_each(|table| self.give_leaf(table));
            } else if let Some(frame) =
                self.block_entry(number).and_then(|link| clear(link).quarantined_frame())
            {
                self.platform.give_huge_frame(frame);
            }
        }
        self.arena.free_run(&self.platform, all.start, all.len());
    }

    /// The entry that maps page `page` of a run: in a leaf table, or above it for a 2 MiB page. For who has the
    /// run to himself; others may find that a 2 MiB page is [split](Self::mapping).
    pub(crate) fn run_entry(&self, first: usize, page: usize) -> &AtomicU64 {
        let number = first + page / BLOCK_PAGES;
        match self.mapping(self.block(number)) {
            Some(Mapping::Small(leaf) | Mapping::Unflushed(leaf, _)) => &leaf[page % BLOCK_PAGES],
            Some(Mapping::Huge(slot, _)) => slot,
            None => unreachable!("block {number} of the run has a directory"),
        }
    }

    /// The entry of the first page of the run that starts at a block, if one does.
    pub(crate) fn run_start(&self, block: &Block) -> Option<&AtomicU64> {
        match self.mapping(block)? {
            Mapping::Small(leaf) | Mapping::Unflushed(leaf, _) => Some(&leaf[0]),
            Mapping::Huge(slot, _) => Some(slot),
        }
    }

    /// The first block of the run that a block belongs to.
    pub(crate) fn head_of(&self, block: &Block) -> &Block {
        match block.role() {
            Role::Tail { behind } => self.block(block.number() - behind as usize),
            _ => self.block(block.number()),
        }
    }

    /// Claims the run that starts at a block, so that it is the caller's alone: what its first entry was. `None` if
    /// none of this kind does.
    fn claim_run(&self, first: usize, owned: bool) -> Option<Entry> {
        // Without interrupts: it may be nobody's any more, and its tables go when this CPU has flushed.
        self.look(|look| claim_any(self.run_start(self.table.get(first, look)?)?, owned))
    }

    /// Frees the run that starts at a block; `false` if it is none of this kind.
    pub(crate) fn free_run(&self, first: usize, owned: bool) -> bool {
        let Some(entry) = self.claim_run(first, owned) else { return false };
        self.free_claimed_run(first, owned, entry);
        true
    }

    /// Frees a run whose first entry, which was `entry`, is claimed.
    pub(crate) fn free_claimed_run(&self, first: usize, owned: bool, entry: Entry) {
        let Role::Head { blocks, huge } = self.block(first).role() else { unreachable!("a run says so") };
        let count = blocks as usize;
        if self.is_traced() {
            self.trace_free_run(first, count);
        }
        let below = usize::from(entry.has_guard_below());
        if owned && below == 0 && self.keep_run(first, count, huge) {
            return;
        }
        for number in first - below..first + count {
            self.block(number).set_role(Role::Unused);
        }
        self.free_blocks(first - below, below + count, first + count);
    }

    /// Unmaps `mapped` blocks from `first`, some of them perhaps only in part. Their frames, leaf
    /// tables, and the blocks up to `end` wait for a flush.
    pub(crate) fn free_blocks(&self, first: usize, mapped: usize, end: usize) {
        for number in first..first + mapped {
            self.unmap_block(number);
        }
        let blocks = end - first;
        if self.table.get_owned(first).is_none() {
            // Not even its descriptor could be made, so nothing was mapped.
            return self.arena.free_run(&self.platform, first, blocks);
        }
        self.block(first).set_role(Role::Freed { blocks: blocks as u32, scattered: false });
        self.retire_run(first, blocks);
    }

    /// A run of `count` blocks was unmapped: it waits for a flush.
    pub(crate) fn retire_run(&self, first: usize, count: usize) {
        let pin = self.platform.pin();
        self.block(first).pages.lock(&pin).retire_all();
        self.push_lazy(&pin, first);
        self.count_retired(pin, count * BLOCK_PAGES);
    }

    /// Gives back freed blocks that were flushed.
    pub(crate) fn reclaim_blocks(&self, first: usize, count: usize, scattered: bool) {
        for number in first..first + count {
            self.reclaim_block(number, scattered);
        }
        self.block(first).set_role(Role::Unused);
        self.arena.free_run(&self.platform, first, count);
    }

    /// Quarantines what a block of a run maps, and unlinks its leaf table.
    fn unmap_block(&self, number: usize) {
        let Some(link) = self.block_entry(number) else { return };
        match self.table.get_owned(number).and_then(|block| block.leaf(&self.platform)) {
            Some(leaf) => {
                // The head's first page is quarantined already if it was claimed.
                let rest = usize::from(!Entry(leaf[0].load(Ordering::Relaxed)).is_present());
                for entry in &leaf[rest..] {
                    if !Entry(entry.load(Ordering::Relaxed)).is_present() {
                        break;
                    }
                    unmap(entry);
                }
                link.store(Entry::UNUSED.0, Ordering::Relaxed);
            }
            None if Entry(link.load(Ordering::Relaxed)).is_present() => {
                unmap(link);
            }
            None => {}
        }
    }

    /// Gives back the frames and the leaf table of a block that was unmapped and flushed.
    fn reclaim_block(&self, number: usize, scattered: bool) {
        let Some(leaf) = self.table.get_owned(number).and_then(|block| block.leaf(&self.platform)) else {
            if let Some(frame) = self.block_entry(number).and_then(|slot| clear(slot).quarantined_frame()) {
                self.platform.give_huge_frame(frame);
            }
            return;
        };
        // Used entries are the first ones; the guard may follow, and is cleared too.
        let used =
            leaf.iter().map(clear).take_while(|entry| scattered || !(entry.is_unused() || entry.is_guard()));
        self.platform.give_frames(used.filter_map(Entry::quarantined_frame));
        if let Some(leaf) = self.block(number).set_leaf(None) {
            self.give_leaf(leaf);
        }
    }
}
