//! Congruent areas: several at once, at set distances from one base, for memory that each CPU has at the
//! same distance from its own.
//!
//! They begin as address space with leaf tables, without frames. Pages of it are populated, and depopulated
//! again, in all areas of a set alike (`populate`).
//!
//! Each block's pages say which of them are populated: those are live. The first blocks of a set's areas
//! are linked to each other, so that a set is known by its first block alone, and nothing is allocated for
//! it. A set that is freed leaves block by block: each is closed when its pages are flushed.

mod populate;

use super::Areas;
use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, CongruentArea, CongruentError, CongruentSet, Kind,
    MAX_CONGRUENT, PAGE_SIZE, Platform, Stamp,
    arena::Part,
    blocks::{Block, NO_BLOCK, Pages, Role},
    lock::Guard,
    page_table::{
        entry::{Entry, GuardInfo},
        slot::Slots,
    },
    pending::Pressure,
    span::run_blocks,
    types::Owner,
};
use core::{ops::Range, panic::Location, sync::atomic::Ordering};

/// The parts of a set, and frames that its tables take.
pub(crate) struct Parts {
    parts: [Part; MAX_CONGRUENT],
    count: usize,
    /// In blocks.
    align: usize,
}

impl Parts {
    /// The parts of these areas in an instance, checked, for a base aligned to `align` bytes.
    pub fn of<P: Platform>(
        areas: &Areas<P>,
        wanted: &[CongruentArea],
        align: usize,
    ) -> Result<Self, CongruentError> {
        let count = wanted.len();
        if count == 0 || count > MAX_CONGRUENT {
            return Err(CongruentError::BadCount { count });
        }
        if !align.is_power_of_two() {
            return Err(AllocError::BadAlignment { align }.into());
        }
        let mut parts = [Part { offset: 0, count: 0 }; MAX_CONGRUENT];
        let mut free = 0;
        for (index, (part, &CongruentArea { offset, size })) in parts.iter_mut().zip(wanted).enumerate() {
            let (pages, _) = super::shape::pages_for(areas.span(), size)?;
            if !offset.is_multiple_of(BLOCK_SIZE) {
                return Err(CongruentError::BadOffset { offset });
            }
            if offset < free {
                return Err(CongruentError::Overlap { index });
            }
            let blocks = run_blocks(pages);
            if offset > areas.span().range.len() - blocks * BLOCK_SIZE {
                return Err(AllocError::TooLarge { size: offset.saturating_add(size) }.into());
            }
            free = offset + blocks * BLOCK_SIZE;
            *part = Part { offset: offset >> BLOCK_SHIFT, count: blocks };
        }
        Ok(Self { parts, count, align: (align >> BLOCK_SHIFT).max(1) })
    }

    fn parts(&self) -> &[Part] {
        &self.parts[..self.count]
    }

    /// Frames that the set needs, at least, if nothing is cached.
    pub fn frames_needed(&self) -> usize {
        self.parts().iter().map(|part| part.count).sum()
    }

    /// All blocks of the set.
    fn blocks(&self, base: usize) -> impl Iterator<Item = usize> {
        self.parts().iter().flat_map(move |part| (0..part.count).map(move |index| base + part.offset + index))
    }
}

impl<P: Platform> Areas<P> {
    /// Makes the areas `wanted`, whose parts are `parts`.
    pub fn make_congruent(
        &self,
        wanted: &[CongruentArea],
        parts: &Parts,
        caller: &'static Location<'static>,
    ) -> Result<CongruentSet, AllocError> {
        let offset = self.span().blocks_below() & (parts.align - 1);
        let base =
            self.blocks().arena.allocate_congruent(self.platform(), parts.parts(), parts.align, offset)?;
        for (done, number) in parts.blocks(base).enumerate() {
            if let Err(error) = self.open_congruent(number) {
                parts
                    .blocks(base)
                    .take(done + 1)
                    .for_each(|block| self.abandon_blocks(block..block + 1, block..block + 1));
                parts.blocks(base).skip(done + 1).for_each(|block| self.blocks().give_back(block, 1));
                return Err(error);
            }
        }
        parts.blocks(base).for_each(|number| self.blocks().link(number));
        self.publish_congruent(base, wanted, parts.parts(), caller);
        Ok(CongruentSet { base: self.span().address(base, 0), first: base + parts.parts()[0].offset })
    }

    /// Gives a block a leaf table, which is linked later, and pages none of which is live.
    fn open_congruent(&self, number: usize) -> Result<(), AllocError> {
        let block = self.blocks().open_leaf(number)?;
        *block.pages.lock(&self.platform().pin()) = Pages::new();
        Ok(())
    }

    /// Makes areas known that have all their tables: links, guards, and the first blocks last.
    fn publish_congruent(
        &self,
        base: usize,
        wanted: &[CongruentArea],
        parts: &[Part],
        caller: &'static Location<'static>,
    ) {
        let number = |index: usize| parts.get(index).map_or(NO_BLOCK, |part| (base + part.offset) as u32);
        for (index, (area, part)) in wanted.iter().zip(parts).enumerate() {
            let first = base + part.offset;
            let pages = area.size.div_ceil(PAGE_SIZE);
            let slack = pages * PAGE_SIZE - area.size;
            let guard = Entry::guard(GuardInfo { slack, kind: Kind::Congruent, caller });
            self.blocks().run_slot(first, pages).set(guard);
            self.block(first).previous.store(number(index.wrapping_sub(1)), Ordering::Relaxed);
            self.block(first).next.store(number(index + 1), Ordering::Relaxed);
            for behind in (0..part.count).rev() {
                self.block(first + behind).set_role(Role::Congruent { pages, behind });
            }
        }
    }

    /// Frees all areas of a set, with what frames they have; `None`: it is not allocated.
    pub fn free_congruent(&self, set: CongruentSet) -> Option<Pressure> {
        self.set_pages(set)?;
        let mut pressure = Pressure::Low;
        let mut next = set.first as u32;
        while next != NO_BLOCK {
            let first = next as usize;
            let block = self.block(first);
            let Role::Congruent { pages, .. } = block.role() else {
                unreachable!("block {first} is in a set of congruent areas")
            };
            next = block.next.load(Ordering::Relaxed);
            self.base().trace_free(first, 0, pages);
            // The first block first: no look-up finds the area by its others then.
            for number in first..first + run_blocks(pages) {
                pressure = pressure.or(self.leave(self.block(number)));
            }
        }
        Some(pressure)
    }

    /// Unmaps a block's pages; when they are flushed, it is closed.
    fn leave(&self, block: &Block) -> Pressure {
        let pin = self.platform().pin();
        let mut pages = block.pages.lock(&pin);
        block.set_role(Role::Leaving);
        let count = retire_present(&mut pages, self.blocks().leaf(block), 0..BLOCK_PAGES);
        self.enlist(&pin, pages, block);
        self.pending().count(&pin, count)
    }

    /// Sees to it that a purge comes to the block, which the caller has locked.
    pub(super) fn enlist(&self, pin: &P::Pin, mut pages: Guard<'_, Pages, P::Pin>, block: &Block) {
        if pages.enlist() {
            drop(pages);
            self.pending().push(pin, block);
        }
    }

    /// What is flushed in a block becomes free: how many pages, and whether the block waits on. One that
    /// leaves, and has nothing that waits, is closed.
    pub fn settle_congruent(
        &self,
        pin: &P::Pin,
        block: &Block,
        flushed: impl Fn(Stamp) -> bool,
    ) -> (usize, bool) {
        let (freed, waits) = block.pages.lock(pin).end_purge(flushed);
        if !waits && block.role() == Role::Leaving {
            block.set_role(Role::Freed { blocks: 1, scattered: true });
            self.pending().close(pin, block);
        }
        (freed, waits)
    }

    /// How many pages a set's first area has, if the set is allocated.
    pub(super) fn set_pages(&self, set: CongruentSet) -> Option<usize> {
        let pin = self.platform().pin();
        let block = self.blocks().find(set.first, &pin)?;
        let is_first = block.previous.load(Ordering::Relaxed) == NO_BLOCK;
        match block.role() {
            Role::Congruent { pages, behind: 0 } if is_first => Some(pages),
            _ => None,
        }
    }
}

/// Unmaps those of these pages of a block that are mapped: they are dirty now. How many.
pub(super) fn retire_present(pages: &mut Pages, leaf: &Slots, range: Range<usize>) -> usize {
    let (mut first, mut count) = (range.start, 0);
    for page in range.start..=range.end {
        if page < range.end && leaf[page].is_present() {
            leaf[page].unmap();
            continue;
        }
        if first < page {
            pages.make_dirty(first, page - first, Owner::Area);
            count += page - first;
        }
        first = page + 1;
    }
    count
}
