//! Runs: areas that have blocks of their own.
//!
//! A block is opened, filled with tables and frames, and linked when all blocks of the run are full. A run that fails
//! half-way was never linked, so it goes back without a flush. A run that is freed is cached, or its blocks are
//! unmapped and unlinked, and wait for a flush with their tables and frames.

use super::{Areas, Attempt, Backing, Shape};
use crate::{
    AllocError, BLOCK_PAGES, Frame, Platform, Returned,
    blocks::Role,
    page_table::{Entry, GuardInfo, Slot, hide_none, publish_area},
    pending::Pressure,
    span::run_blocks,
    types::Owner,
};
use core::ops::Range;

impl<P: Platform> Areas<P> {
    pub(super) fn make_run(&self, shape: &Shape<'_>, attempt: Attempt) -> Result<usize, AllocError> {
        if let Some((first, cpu)) = self.take_cached_for(shape) {
            let filled = self.refill_run(shape, attempt, first, cpu);
            let finish = || self.finish_run(first, shape.pages, shape.guard);
            return filled.then(finish).ok_or(AllocError::NO_FRAMES);
        }
        let (count, below) = (run_blocks(shape.pages), shape.below);
        // Those of a request that cannot be met are not taken from others.
        let free = self.platform().free_frames().saturating_add(self.blocks().reserved_leaves_here());
        if shape.frames_needed() > free {
            return Err(AllocError::NO_FRAMES);
        }
        let first = self.open_run(shape)?;
        for index in 0..count {
            self.fill_block(first + index, index * BLOCK_PAGES, shape).inspect_err(|_| {
                self.abandon_blocks(first..first + index + 1, first - below..first + count);
            })?;
        }
        (first..first + count).for_each(|number| self.blocks().link(number));
        if below > 0 {
            self.blocks().run_slot(first, 0, &self.platform().pin()).change(Entry::with_guard_below);
            self.blocks().set_role(first - 1, Role::GuardBelow);
        }
        Ok(self.finish_run(first, shape.pages, shape.guard))
    }

    /// Takes blocks for a run of this shape, with those below that are to be its guard. Returns the first one above these.
    pub(super) fn open_run(&self, shape: &Shape<'_>) -> Result<usize, AllocError> {
        let (below, count) = (shape.below, run_blocks(shape.pages));
        let align = (shape.align / BLOCK_PAGES).max(1);
        let first = self.blocks().open(below, count, align, shape.within.clone())?;
        if below > 0 {
            let made = self.blocks().make_descriptor(first - below);
            made.inspect_err(|_| self.blocks().give_back(first - below, below + count))?;
        }
        Ok(first)
    }

    /// Makes a run known whose pages are all mapped: guard, roles, and the first page last. Returns its address.
    pub(super) fn finish_run(&self, first: usize, pages: usize, guard: GuardInfo) -> usize {
        let (blocks, count) = (self.blocks(), run_blocks(pages));
        let end = self.blocks().run_slot(first, pages, &self.platform().pin());
        blocks.expect_unused(end);
        end.set(Entry::guard(guard));
        for index in 1..count {
            blocks.set_role(first + index, Role::Tail { behind: index as u32 });
        }
        self.set_head(first, count);
        let pin = self.platform().pin();
        publish_area(blocks.run_slot(first, 0, &pin), blocks.run_slot(first, pages - 1, &pin), pages);
        self.span().address(first, 0)
    }

    /// Writes down at a run's first block how long it is, and how many of its blocks are mapped by
    /// 2 MiB pages: look-ups need not walk it.
    pub(super) fn set_head(&self, first: usize, count: usize) {
        let is_huge = |&number: &usize| self.blocks().find_leaf(number).is_none();
        let huge = (first..first + count).filter(is_huge).count() as u32;
        self.blocks().set_role(first, Role::Head { blocks: count as u32, huge });
    }

    /// Gives a block that was just opened the tables and frames for the pages of the area that lie in it, from page
    /// `from` of the area on. No CPU reaches them before the block is linked.
    fn fill_block(&self, number: usize, from: usize, shape: &Shape<'_>) -> Result<(), AllocError> {
        let pages = (shape.pages - from).min(BLOCK_PAGES);
        if pages == BLOCK_PAGES && shape.backing.may_be_huge(from) {
            let slot = self.blocks().make(number)?;
            if let Some(frame) = self.huge_frame(from, shape) {
                slot.set(Entry::huge(frame, self.mapped_as(shape.attributes)).quarantined());
                return Ok(());
            }
        }
        self.blocks().open_leaf(number)?;
        let leaf = self.blocks().leaf_of(number);
        if self.fill(&leaf[..pages], from, shape) < pages { Err(AllocError::NO_FRAMES) } else { Ok(()) }
    }

    /// The first frame of the 2 MiB page that is to map an area from page `from` on; `None`: 4 KiB pages map it.
    fn huge_frame(&self, from: usize, shape: &Shape<'_>) -> Option<Frame> {
        match shape.backing {
            Backing::Owned { .. } => {
                let first = self.platform().take_huge_frame()?;
                if shape.attributes.are_zeroed() {
                    (0..BLOCK_PAGES).for_each(|page| self.base().zero(first.behind(page)));
                }
                Some(first)
            }
            Backing::Frames(frames) => {
                let frames = &frames[from..from + BLOCK_PAGES];
                Frame::are_contiguous(frames).then_some(frames[0])
            }
            Backing::Physical(first) => Some(first.behind(from)),
        }
    }

    /// Gives back the blocks `all`, of which those `filled` were filled, perhaps the last of them in part, and none
    /// linked: no CPU can reach anything of them, so it needs no flush.
    pub(super) fn abandon_blocks(&self, filled: Range<usize>, all: Range<usize>) {
        for number in filled {
            let owned_frame = |entry: Entry| entry.is_owned().then(|| entry.frame());
            self.give_block(number, |entry| entry.is_present(), owned_frame);
        }
        self.blocks().give_back(all.start, all.len());
    }

    /// Gives back the leaf table of a block that no CPU reaches, and the frames that `frame` finds in its entries, which
    /// are used up to the first that is not `is_used`; or the frame of its 2 MiB page.
    fn give_block(
        &self,
        number: usize,
        is_used: impl Fn(&Entry) -> bool,
        frame: impl Fn(Entry) -> Option<Frame>,
    ) {
        let Some(leaf) = self.blocks().find_leaf(number) else {
            let slot = self.blocks().directory_slot(number);
            let huge = slot.and_then(|slot| slot.clear().quarantined_frame());
            return huge.into_iter().for_each(|frame| self.platform().give_huge_frame(Returned::new(frame)));
        };
        let used = leaf.iter().map(Slot::clear).take_while(is_used);
        self.platform().give_frames(Returned::new(used.filter_map(frame)));
        // The next block that has the table would have what is left in it.
        if cfg!(debug_assertions) {
            leaf.iter().for_each(|slot| self.blocks().expect_unused(slot));
        }
        let table = {
            let pin = self.platform().pin();
            let block = self.blocks().block(number, &pin);
            // Who counts frames that are cached or wait has it locked while looking into the table.
            let _pages = block.pages.lock(&pin);
            block.set_leaf(None)
        };
        table.into_iter().for_each(|table| self.blocks().give_leaf(table));
    }

    /// Frees a run of `count` blocks, `huge` of them mapped by 2 MiB pages, whose frames are `owner`'s, and whose first
    /// entry, which was `entry`, is claimed.
    pub(super) fn free_run(
        &self,
        first: usize,
        count: usize,
        huge: u32,
        owner: Owner,
        entry: Entry,
    ) -> Pressure {
        let below = usize::from(entry.has_guard_below());
        if entry.hides() {
            self.hide_none(first, count, entry);
        }
        if owner == Owner::Area
            && below == 0
            && let Some(pressure) = self.cache_run(first, count, huge)
        {
            return pressure;
        }
        self.blocks().set_unused(first - below..first + count);
        self.free_blocks(first - below, below + count, first + count)
    }

    /// Shows the pages of a run whose first entry, which was `entry`, is claimed, so that they are unmapped as others are.
    #[cold]
    fn hide_none(&self, first: usize, count: usize, entry: Entry) {
        // Pages of 2 MiB are not hidden.
        self.blocks().run_slot(first, 0, &self.platform().pin()).set(entry.unmarked_owned().quarantined());
        for leaf in (first..first + count).filter_map(|number| self.blocks().find_leaf(number)) {
            hide_none(leaf.iter());
        }
    }

    /// Unmaps `mapped` blocks from `first`, some of them perhaps only in part. Their frames, leaf
    /// tables, and the blocks up to `end` wait for a flush.
    pub(super) fn free_blocks(&self, first: usize, mapped: usize, end: usize) -> Pressure {
        (first..first + mapped).for_each(|number| self.unmap_block(number));
        let blocks = end - first;
        let pin = self.platform().pin();
        let Some(block) = self.blocks().find(first, &pin) else {
            drop(pin);
            // Not even its descriptor could be made, so nothing was mapped.
            self.blocks().give_back(first, blocks);
            return Pressure::Low;
        };
        block.set_role(Role::Freed { blocks: blocks as u32, scattered: false });
        self.pending().retire_run(&pin, block, blocks)
    }

    /// Gives back freed blocks that were flushed.
    pub fn reclaim_blocks(&self, first: usize, count: usize, scattered: bool) {
        // Used entries are the first ones; the guard may follow, and is cleared too.
        let is_used = |entry: &Entry| scattered || !(entry.is_unused() || entry.is_guard());
        (first..first + count).for_each(|number| self.give_block(number, is_used, Entry::quarantined_frame));
        self.blocks().set_role(first, Role::Unused);
        self.blocks().give_back(first, count);
    }

    /// Quarantines what a block of a run maps, and unlinks its leaf table.
    fn unmap_block(&self, number: usize) {
        let Some(link) = self.blocks().directory_slot(number) else { return };
        match self.blocks().find_leaf(number) {
            Some(leaf) => {
                // The head's first page is quarantined already if it was claimed.
                let rest = usize::from(!leaf[0].is_present());
                leaf[rest..].iter().take_while(|slot| slot.is_present()).for_each(Slot::unmap);
                link.set_unused();
            }
            None if link.is_present() => link.unmap(),
            None => {}
        }
    }
}
