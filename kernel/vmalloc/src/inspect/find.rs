//! Finding areas: the one at an address, all of them.
//!
//! What lies at an address is read from page table entries and descriptors without a lock, in any context, the report
//! of a fault included. Listing areas takes the arena's lock to find the next block in use, which must not be done in
//! an interrupt handler. An area that is allocated or freed meanwhile is either seen whole or not at all. Each block is
//! examined in a read-side section of its own.

use crate::{
    AreaInfo, BLOCK_PAGES, Kind, PAGE_SIZE, Platform, Vmalloc,
    blocks::{Block, Blocks, Mapping, ReadSide, Role},
    page_table::{entry::Entry, slot::Slots},
    span::run_blocks,
};

impl<P: Platform> Vmalloc<P> {
    /// Finds the area that `address` lies in, guard pages included. It may be called in any context: in a
    /// page fault handler it tells whose address was touched, and [where](crate#in-a-page-fault-handler).
    #[doc(alias = "find_vm_area")]
    #[doc(alias = "find_vmap_area")]
    pub fn find_area(&self, address: usize) -> Option<AreaInfo> {
        let blocks = self.blocks();
        let area = blocks.read_side(|side| View { blocks, side }.area_at(address))?;
        Some(counted(blocks, area))
    }

    /// Finds the lowest area that starts at or above `address`.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn next_area(&self, address: usize) -> Option<AreaInfo> {
        self.base().assert_not_in_interrupt("next_area");
        let blocks = self.blocks();
        let (mut number, mut page) = blocks.span().first_page_above(address);
        loop {
            let used = blocks.arena.next_used(&blocks.platform().pin(), number)?;
            if used != number {
                (number, page) = (used, 0);
            }
            let found = blocks.read_side(|side| View { blocks, side }.first_from(number, page));
            if let Some(area) = found {
                return Some(counted(blocks, area));
            }
            (number, page) = (number + 1, 0);
        }
    }

    /// Returns all areas, the lowest first. Each is found when the iterator comes to it.
    ///
    /// # Panics
    /// The iterator does, in an interrupt handler.
    #[doc(alias = "vmallocinfo")]
    #[doc(alias = "vmap_area_list")]
    pub fn areas(&self) -> impl Iterator<Item = AreaInfo> {
        let mut from = self.range().start;
        core::iter::from_fn(move || {
            let area = self.next_area(from)?;
            from = area.end();
            Some(area)
        })
    }
}

/// The blocks of an instance in a read-side section. Whatever is followed may be freed meanwhile: then nothing is found.
pub(super) struct View<'a, P> {
    pub blocks: &'a Blocks<P>,
    pub side: &'a ReadSide,
}

impl<'a, P: Platform> View<'a, P> {
    pub fn block(&self, number: usize) -> Option<&'a Block> {
        self.blocks.find(number, self.side)
    }

    pub fn leaf(&self, number: usize) -> Option<&'a Slots> {
        self.block(number)?.leaf(self.blocks.platform())
    }

    /// Finds the area that `address` lies in, or on whose guard page behind or below it does. The populated pages of a
    /// congruent area are not counted.
    pub fn area_at(&self, address: usize) -> Option<AreaInfo> {
        let (number, page) = self.blocks.span().place(address)?;
        let found = match self.block(number)?.role() {
            Role::Unused | Role::Freed { .. } | Role::Cached { .. } | Role::Leaving => None,
            Role::Congruent { pages, behind } => self.congruent_area(number.checked_sub(behind)?, pages),
            Role::Small { .. } => self.small_area(number, page),
            Role::Head { .. } => self.run_area(number),
            Role::GuardBelow => self.run_area(number + 1),
            Role::Tail { behind } => self.run_area(number.checked_sub(behind as usize)?),
        };
        found.filter(|area| (area.guard_start()..area.end()).contains(&address))
    }

    /// Finds the first area that starts in a block, at page `page` or behind.
    fn first_from(&self, number: usize, page: usize) -> Option<AreaInfo> {
        match self.block(number)?.role() {
            Role::Small { .. } => (page..BLOCK_PAGES).find_map(|page| self.small_area_at(number, page)),
            Role::Head { .. } if page == 0 => self.run_area(number),
            Role::Congruent { pages, behind: 0 } if page == 0 => self.congruent_area(number, pages),
            _ => None,
        }
    }

    /// Finds the area that starts at page `page` of a shared block.
    pub fn small_area_at(&self, number: usize, page: usize) -> Option<AreaInfo> {
        let is_first = self.leaf(number)?[page].look().shown().is_first();
        let found = is_first.then(|| self.small_area(number, page))?;
        found.filter(|area| area.start == self.blocks.span().address(number, page))
    }

    /// Finds the area that page `page` of a shared block lies in, or on whose guard page it does.
    fn small_area(&self, number: usize, page: usize) -> Option<AreaInfo> {
        let leaf = self.leaf(number)?;
        let inside = match leaf[page].look() {
            entry if entry.is_guard() => page.checked_sub(1)?,
            Entry::GUARD_BELOW => page + 1,
            _ => page,
        };
        let first = find_end(leaf, (0..=inside).rev(), Entry::is_first)?;
        let last = find_end(leaf, first..BLOCK_PAGES, Entry::is_last)?;
        let (start, pages) = (self.blocks.span().address(number, first), last + 1 - first);
        let entry = leaf[first].look().shown();
        if entry.is_ram() {
            return Some(unguarded(start, pages));
        }
        let guard = leaf.get(last + 1)?.look();
        let guard_below = usize::from(entry.has_guard_below());
        Some(AreaInfo { guard_below, ..describe(start, pages, guard)? })
    }

    fn run_area(&self, number: usize) -> Option<AreaInfo> {
        let block = self.block(number)?;
        let Role::Head { blocks, huge } = block.role() else { return None };
        let start = match self.blocks.mapping(block)? {
            Mapping::Small(leaf) | Mapping::Unflushed(leaf, _) => leaf[0].look().shown(),
            Mapping::Huge(_, entry) => entry,
        };
        if !start.is_first() {
            // The area was just freed, or is not complete.
            return None;
        }
        let (blocks, huge_pages) = (blocks as usize, huge as usize * BLOCK_PAGES);
        let guard_below = if start.has_guard_below() { BLOCK_PAGES } else { 0 };
        let leaf = self.leaf(number + blocks - 1)?;
        let in_last = (0..BLOCK_PAGES).find(|&page| leaf[page].look().is_guard())?;
        let pages = (blocks - 1) * BLOCK_PAGES + in_last;
        let start = self.blocks.span().address(number, 0);
        Some(AreaInfo { guard_below, huge_pages, ..describe(start, pages, leaf[in_last].look())? })
    }

    fn congruent_area(&self, number: usize, pages: usize) -> Option<AreaInfo> {
        // This role is taken away first when the area is freed.
        let Role::Congruent { behind: 0, .. } = self.block(number)?.role() else { return None };
        let last = self.leaf(number + pages / BLOCK_PAGES)?;
        let start = self.blocks.span().address(number, 0);
        describe(start, pages, last[pages % BLOCK_PAGES].look())
    }
}

/// Returns the area with its populated pages: of a congruent one they are counted block by block, each in a read-side
/// section of its own, as there may be many.
fn counted<P: Platform>(blocks: &Blocks<P>, area: AreaInfo) -> AreaInfo {
    if area.kind != Kind::Congruent {
        return area;
    }
    let first = blocks.span().block_at(area.start);
    let present = |leaf: &Slots| leaf.iter().filter(|slot| slot.look().is_present()).count();
    let in_block = |number| {
        blocks.read_side(|side| match (View { blocks, side }).block(number)? {
            block if matches!(block.role(), Role::Congruent { .. }) => {
                block.leaf(blocks.platform()).map(present)
            }
            _ => None,
        })
    };
    let populated = (first..first + run_blocks(area.pages)).filter_map(in_block).sum();
    AreaInfo { populated, ..area }
}

/// Finds the first of `pages` that `is_end` of an area; `None` if one before it is not present.
fn find_end(leaf: &Slots, pages: impl Iterator<Item = usize>, is_end: fn(Entry) -> bool) -> Option<usize> {
    let shown = |page: usize| leaf[page].look().shown();
    let mut present = pages.take_while(|&page| shown(page).is_present());
    present.find(|&page| is_end(shown(page)))
}

/// Describes an area of `vm_map_ram`, which has no guard page.
fn unguarded(start: usize, pages: usize) -> AreaInfo {
    AreaInfo {
        start,
        pages,
        populated: pages,
        guard_pages: 0,
        guard_below: 0,
        huge_pages: 0,
        requested: pages * PAGE_SIZE,
        kind: Kind::VmMapRam,
        caller: None,
        made: None,
    }
}

/// Describes an area by the entry of the guard page behind it; `None` if that is none.
fn describe(start: usize, pages: usize, guard: Entry) -> Option<AreaInfo> {
    let info = guard.guard_info()?;
    let requested = pages * PAGE_SIZE - info.slack;
    let (kind, caller, made) = (info.kind, Some(info.caller), Some(info.made));
    Some(AreaInfo { guard_pages: 1, requested, kind, caller, made, ..unguarded(start, pages) })
}
