//! Congruent areas: several at once, at set distances from one base, for memory that each CPU has at the
//! same distance from its own.
//!
//! They begin as address space with leaf tables, without frames. Pages of it are populated, and depopulated
//! again, in all areas of a set alike (`populate.rs`).
//!
//! Each block's pages say which of them are populated: those are live. The first blocks of a set's areas
//! are linked to each other, so that a set is known by its first block alone, and nothing is allocated for
//! it. A set that is freed leaves block by block: each is closed when its pages are flushed.

use crate::{
    AllocError, CongruentError, FreeError, Vmalloc,
    areas::run::blocks_for,
    arena::Part,
    blocks::block::{Block, Role},
    blocks::pages::Pages,
    calls::area::unmap,
    lock::Guard,
    page_table::entry::{Entry, GuardInfo, Kind},
    pending::list::NONE,
    platform::{BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, PAGE_SIZE, Platform, Table},
    reclaim::shortage::Shortage,
    tlb::shootdown::Stamp,
};
use core::{
    ops::Range,
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// Areas in a set, at most.
pub const MAX_CONGRUENT: usize = crate::MAX_CPUS;

/// What one area of a set is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongruentArea {
    /// Bytes from the set's base to its first byte: a multiple of [`BLOCK_SIZE`].
    pub offset: usize,
    /// Its bytes; it ends with a guard page.
    pub size: usize,
}

/// Congruent areas that were allocated together. It names them, as an address does an area: a copy of it
/// is no other set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongruentSet {
    base: usize,
    /// The first block of the first area.
    first: usize,
}

impl CongruentSet {
    /// The address that the areas' offsets count from. What lies there is the set's only if an offset is 0.
    #[must_use]
    #[inline]
    pub fn base(self) -> usize {
        self.base
    }
}

impl<P: Platform> Vmalloc<P> {
    /// Allocates areas at these offsets, the lowest first, from a base aligned to `align` bytes and to a
    /// block: the lowest at which all are free. No page of them has a frame. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`CongruentError`]; nothing has changed then.
    #[track_caller]
    pub fn allocate_congruent(
        &self,
        areas: &[CongruentArea],
        align: usize,
    ) -> Result<CongruentSet, CongruentError> {
        let caller = Location::caller();
        self.refuse_in_interrupt()?;
        self.check_congruent(areas, align)?;
        let tables = areas.iter().map(|area| blocks_for(area.size.div_ceil(PAGE_SIZE))).sum();
        let shortage = Shortage { frames: tables, ticket: self.purge_ticket() };
        let again = || self.try_congruent(areas, align, caller);
        let made = again().or_else(|error| self.make_room(error, shortage, again));
        if self.is_traced() {
            self.trace_congruent(areas, caller, made);
        }
        Ok(made?)
    }

    #[cold]
    fn trace_congruent(
        &self,
        areas: &[CongruentArea],
        caller: &'static Location<'static>,
        made: Result<CongruentSet, AllocError>,
    ) {
        for area in areas {
            let start = made.map(|set| NonNull::new((set.base + area.offset) as *mut u8));
            let traced = start.transpose().map(|start| self.traced(area.size, caller, start));
            // A set is refused once.
            if matches!(traced, Some(Err(_))) {
                break;
            }
        }
    }

    fn check_congruent(&self, areas: &[CongruentArea], align: usize) -> Result<(), CongruentError> {
        if areas.is_empty() || areas.len() > MAX_CONGRUENT {
            return Err(CongruentError::BadCount { count: areas.len() });
        }
        if !align.is_power_of_two() {
            return Err(AllocError::BadAlignment { align }.into());
        }
        let mut free = 0;
        for (index, &CongruentArea { offset, size }) in areas.iter().enumerate() {
            let (pages, _) = self.pages_for(size)?;
            if !offset.is_multiple_of(BLOCK_SIZE) {
                return Err(CongruentError::BadOffset { offset });
            }
            if offset < free {
                return Err(CongruentError::Overlap { index });
            }
            if offset > self.range.len() - blocks_for(pages) * BLOCK_SIZE {
                return Err(AllocError::TooLarge { size: offset.saturating_add(size) }.into());
            }
            free = offset + blocks_for(pages) * BLOCK_SIZE;
        }
        Ok(())
    }

    fn try_congruent(
        &self,
        areas: &[CongruentArea],
        align: usize,
        caller: &'static Location<'static>,
    ) -> Result<CongruentSet, AllocError> {
        let mut parts = [Part { offset: 0, count: 0 }; MAX_CONGRUENT];
        for (part, area) in parts.iter_mut().zip(areas) {
            let (pages, _) = self.pages_for(area.size)?;
            *part = Part { offset: area.offset >> BLOCK_SHIFT, count: blocks_for(pages) };
        }
        let parts = &parts[..areas.len()];
        let align = (align >> BLOCK_SHIFT).max(1);
        let offset = (self.range.start >> BLOCK_SHIFT) & (align - 1);
        let base = self.arena.allocate_congruent(&self.platform, parts, align, offset)?;
        let blocks =
            || parts.iter().flat_map(|part| (0..part.count).map(move |index| base + part.offset + index));
        for (done, number) in blocks().enumerate() {
            if let Err(error) = self.open_congruent(number) {
                blocks()
                    .take(done + 1)
                    .for_each(|number| self.abandon_blocks(number..number + 1, number..number + 1));
                blocks().skip(done + 1).for_each(|number| self.arena.free(&self.platform.pin(), number, 1));
                return Err(error);
            }
        }
        blocks().for_each(|number| self.link_block(number));
        self.publish_congruent(base, areas, parts, caller);
        Ok(CongruentSet { base: self.address(base, 0), first: base + parts[0].offset })
    }

    /// Gives a block a leaf table, which is linked later, and pages none of which is live.
    fn open_congruent(&self, number: usize) -> Result<(), AllocError> {
        let (block, _) = self.open_leaf(number)?;
        *block.pages.lock(&self.platform.pin()) = Pages::new();
        Ok(())
    }

    /// Makes areas known that have all their tables: links, guards, and the first blocks last.
    fn publish_congruent(
        &self,
        base: usize,
        areas: &[CongruentArea],
        parts: &[Part],
        caller: &'static Location<'static>,
    ) {
        let number = |index: usize| parts.get(index).map_or(NONE, |part| (base + part.offset) as u32);
        for (index, (area, part)) in areas.iter().zip(parts).enumerate() {
            let first = base + part.offset;
            let pages = area.size.div_ceil(PAGE_SIZE);
            let slack = pages * PAGE_SIZE - area.size;
            let guard = Entry::guard(GuardInfo { slack, kind: Kind::Congruent, caller });
            self.run_entry(first, pages).store(guard.0, Ordering::Relaxed);
            self.block(first).previous.store(number(index.wrapping_sub(1)), Ordering::Relaxed);
            self.block(first).next.store(number(index + 1), Ordering::Relaxed);
            for behind in (0..part.count).rev() {
                self.block(first + behind).set_role(Role::Congruent { pages, behind });
            }
        }
    }

    /// Frees all areas of a set, with what frames they have. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`FreeError`]; nothing has changed then.
    ///
    /// # Safety
    /// 1. This instance allocated the set, and it was not freed.
    /// 2. Nobody uses the areas any more, nor populates or depopulates pages meanwhile.
    #[track_caller]
    pub unsafe fn free_congruent(&self, set: CongruentSet) -> Result<(), FreeError> {
        let (address, caller) = (set.base, Location::caller());
        if self.platform.in_interrupt() {
            return Err(FreeError::InInterrupt { address, caller });
        }
        if self.set_pages(set).is_none() {
            return Err(FreeError::NotAllocated { address, caller });
        }
        let mut next = set.first as u32;
        while next != NONE {
            let first = next as usize;
            let block = self.block(first);
            let Role::Congruent { pages, .. } = block.role() else {
                unreachable!("block {first} is in a set of congruent areas")
            };
            next = block.next.load(Ordering::Relaxed);
            if self.is_traced() {
                self.trace_free(block, 0, pages);
            }
            // The first block first: no look-up finds the area by its others then.
            (first..first + blocks_for(pages)).for_each(|number| self.leave(number));
        }
        Ok(())
    }

    /// Unmaps a block's pages; when they are flushed, it is closed.
    fn leave(&self, number: usize) {
        let block = self.block(number);
        let pin = self.platform.pin();
        let mut pages = block.pages.lock(&pin);
        block.set_role(Role::Leaving);
        let count = retire_present(&mut pages, self.small_leaf(block), 0..BLOCK_PAGES);
        self.list_congruent(&pin, pages, block);
        self.count_retired(pin, count);
    }

    /// Sees to it that a purge comes to the block, as who has locked it.
    pub(crate) fn list_congruent(&self, pin: &P::Pin, mut pages: Guard<'_, Pages, P::Pin>, block: &Block) {
        if !core::mem::replace(&mut pages.lazy, true) {
            drop(pages);
            self.push_lazy(pin, block.number());
        }
    }

    /// What is flushed in a block becomes free: how many pages, and whether the block waits on. One that
    /// leaves, and has nothing that waits, is closed.
    pub(crate) fn end_congruent_flush(
        &self,
        pin: &P::Pin,
        block: &Block,
        flushed: impl Fn(Stamp) -> bool,
    ) -> (usize, bool) {
        let mut pages = block.pages.lock(pin);
        let freed = pages.end_flush(flushed);
        let waits = pages.stale() > 0;
        pages.lazy = waits;
        if !waits && block.role() == Role::Leaving {
            block.set_role(Role::Freed { blocks: 1, scattered: true });
            drop(pages);
            self.close_block(pin, block.number());
        }
        (freed, waits)
    }

    /// How many pages a set's first area has, if the set is allocated.
    pub(crate) fn set_pages(&self, set: CongruentSet) -> Option<usize> {
        let pin = self.platform.pin();
        let block = self.table.get(set.first, &pin)?;
        let is_first = block.previous.load(Ordering::Relaxed) == NONE;
        match block.role() {
            Role::Congruent { pages, behind: 0 } if is_first => Some(pages),
            _ => None,
        }
    }

    /// The first block of a set that is allocated.
    pub(crate) fn first_block(&self, set: CongruentSet) -> &Block {
        self.block(set.first)
    }
}

fn is_present(slot: &AtomicU64) -> bool {
    Entry(slot.load(Ordering::Relaxed)).is_present()
}

/// Unmaps those of these pages of a block that are mapped: they are dirty now. How many.
pub(crate) fn retire_present(pages: &mut Pages, leaf: &Table, range: Range<usize>) -> usize {
    let (mut first, mut count) = (range.start, 0);
    for page in range.start..=range.end {
        if page < range.end && is_present(&leaf[page]) {
            unmap(&leaf[page]);
            continue;
        }
        if first < page {
            pages.retire(first, page - first);
            count += page - first;
        }
        first = page + 1;
    }
    count
}
