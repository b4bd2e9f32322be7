//! Congruent areas: several at once, at set distances from one base, for per-CPU memory that lies at the same
//! distance from each CPU's own base.
//!
//! They begin as address space with leaf tables, but without frames. Their pages are populated, and
//! depopulated again, in all areas of a set alike (`populate`).
//!
//! Each block records which of its pages are populated: those are live. The first blocks of a set's areas are
//! linked to each other, so that a set is known by its first block alone, and nothing is allocated for it.
//! Freeing a set closes its blocks one by one, each when its pages are flushed.

mod populate;

use super::{Areas, Needs, pages_for};
use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, CongruentArea, CongruentError, CongruentSet, Kind,
    MAX_CONGRUENT, PAGE_SIZE, Platform, Stamp,
    arena::{Part, Wanted},
    blocks::{Block, NO_BLOCK, Pages, Role},
    page_table::{Entry, GuardInfo},
    pending::Pressure,
    span::{Span, run_blocks},
    types::{Caller, Owner},
};
use core::{ops::Range, sync::atomic::Ordering};

/// The parts of a set: what was asked for, and the blocks of each area.
pub(crate) struct Parts<'a> {
    wanted: &'a [CongruentArea],
    /// As many as were asked for, and then empty ones.
    parts: [Part; MAX_CONGRUENT],
    /// In blocks.
    align: usize,
}

impl<'a> Parts<'a> {
    /// The parts of these areas in an instance, checked, for a base aligned to `align` bytes.
    pub fn of(span: &Span, wanted: &'a [CongruentArea], align: usize) -> Result<Self, CongruentError> {
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
            let (pages, _) = pages_for(span, size)?;
            if !offset.is_multiple_of(BLOCK_SIZE) {
                return Err(CongruentError::BadOffset { offset });
            }
            if offset < free {
                return Err(CongruentError::Overlap { index });
            }
            let blocks = run_blocks(pages);
            if offset > span.range.len() - blocks * BLOCK_SIZE {
                return Err(AllocError::TooLarge { size: offset.saturating_add(size) }.into());
            }
            free = offset + blocks * BLOCK_SIZE;
            *part = Part { offset: offset >> BLOCK_SHIFT, count: blocks };
        }
        Ok(Self { wanted, parts, align: (align >> BLOCK_SHIFT).max(1) })
    }

    fn parts(&self) -> &[Part] {
        &self.parts[..self.wanted.len()]
    }

    /// All blocks and their tables.
    pub fn needs(&self, caller: Caller) -> Needs {
        let blocks = self.parts().iter().map(|part| part.count).sum::<usize>();
        Needs { align: self.align * BLOCK_SIZE, ..Needs::pages(blocks * BLOCK_PAGES, blocks, caller) }
    }

    /// All blocks of the set.
    fn blocks(&self, base: usize) -> impl Iterator<Item = usize> {
        self.parts().iter().flat_map(move |part| (0..part.count).map(move |index| base + part.offset + index))
    }
}

impl<P: Platform> Areas<P> {
    /// Makes the areas of a set.
    pub fn make_congruent(&self, set: &Parts<'_>, caller: Caller) -> Result<CongruentSet, AllocError> {
        let offset = self.span().blocks_below() & (set.align - 1);
        let within = 0..self.span().blocks();
        let wanted = Wanted { parts: set.parts(), align: set.align, offset, within };
        let base = self.blocks().arena.take(self.platform(), &wanted)?;
        for (done, number) in set.blocks(base).enumerate() {
            self.blocks().open_leaf(number).inspect_err(|_| {
                for (index, block) in set.blocks(base).enumerate() {
                    self.abandon_blocks(block..block + usize::from(index <= done), block..block + 1);
                }
            })?;
            // None of them is live.
            let pin = self.platform().pin();
            *self.blocks().block(number, &pin).pages.lock(&pin) = Pages::new();
        }
        set.blocks(base).for_each(|number| self.blocks().link(number));
        self.publish_congruent(base, set, caller);
        Ok(CongruentSet { base: self.span().address(base, 0), first: base + set.parts[0].offset })
    }

    /// Makes areas known that have all their tables: links, guards, and the first blocks last.
    fn publish_congruent(&self, base: usize, set: &Parts<'_>, caller: Caller) {
        let parts = set.parts();
        let number = |index: usize| parts.get(index).map_or(NO_BLOCK, |part| (base + part.offset) as u32);
        for (index, (area, part)) in set.wanted.iter().zip(parts).enumerate() {
            let first = base + part.offset;
            let pages = area.size.div_ceil(PAGE_SIZE);
            let slack = pages * PAGE_SIZE - area.size;
            let guard =
                Entry::guard(GuardInfo { slack, kind: Kind::Congruent, caller, made: self.base().now() });
            self.blocks().run_slot(first, pages, &self.platform().pin()).set(guard);
            self.blocks().with(first, |block| {
                block.previous.store(number(index.wrapping_sub(1)), Ordering::Relaxed);
                block.next.store(number(index + 1), Ordering::Relaxed);
            });
            for behind in (0..part.count).rev() {
                self.blocks().set_role(first + behind, Role::Congruent { pages, behind });
            }
        }
    }

    /// Frees all areas of a set, with what frames they have; `None`: it is not allocated.
    pub fn free_congruent(&self, set: CongruentSet, caller: Caller) -> Option<Pressure> {
        self.set_pages(set)?;
        let mut pressure = Pressure::Low;
        let mut next = set.first as u32;
        while next != NO_BLOCK {
            let first = next as usize;
            let role;
            (role, next) =
                self.blocks().with(first, |block| (block.role(), block.next.load(Ordering::Relaxed)));
            let Role::Congruent { pages, .. } = role else {
                unreachable!("block {first} is in a set of congruent areas")
            };
            self.trace_free(self.span().address(first, 0), pages, Kind::Congruent, caller);
            // The first block first: no look-up finds the area by its others then.
            for number in first..first + run_blocks(pages) {
                pressure = pressure.or(self.retire_present(number, 0..BLOCK_PAGES, true));
            }
        }
        Some(pressure)
    }

    /// Unmaps those of these pages of a block that are mapped: they wait for a flush. A block that
    /// leaves is closed when they are flushed.
    pub(super) fn retire_present(&self, number: usize, range: Range<usize>, leaves: bool) -> Pressure {
        let pin = self.platform().pin();
        let block = self.blocks().block(number, &pin);
        let leaf = self.blocks().leaf(block);
        let mut pages = block.pages.lock(&pin);
        if leaves {
            block.set_role(Role::Leaving);
        }
        let mut count = 0;
        for (page, slot) in (range.start..).zip(&leaf[range]).filter(|(_, slot)| slot.is_present()) {
            slot.unmap();
            pages.make_dirty(page, 1, Owner::Area);
            count += 1;
        }
        self.pending().enlist(&pin, block, &mut pages);
        drop(pages);
        self.pending().count(&pin, count)
    }

    /// What is flushed in a block becomes free: how many pages, and whether the block waits on. One that
    /// leaves, and has nothing that waits, is closed.
    pub fn settle_congruent(
        &self,
        pin: &P::Pin,
        block: &Block,
        flushed: impl Fn(Stamp) -> bool,
    ) -> (usize, bool) {
        let mut pages = block.pages.lock(pin);
        let (freed, waits) = pages.end_purge(flushed);
        // Under the lock: who frees the set meanwhile has the block listed, or finds that it has left.
        if !waits && block.role() == Role::Leaving {
            block.set_role(Role::Freed { blocks: 1, scattered: true });
            drop(pages);
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
