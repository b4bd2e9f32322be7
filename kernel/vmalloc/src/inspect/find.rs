//! Looking at what is allocated: the area at an address, all areas.
//!
//! What lies at an address is read from page table entries and descriptors without a lock, so that may
//! be asked in any context, in a fault's report too. Who lists areas takes the arena's lock for the
//! next block in use, which may not be done in an interrupt handler.
//! An area that comes or goes meanwhile is either seen whole or not at all. Each look at a block is made
//! with interrupts off.

use crate::{
    Vmalloc,
    areas::run::blocks_for,
    blocks::block::Role,
    blocks::split::Mapping,
    blocks::table::Reader,
    page_table::entry::{Entry, Kind},
    platform::{BLOCK_PAGES, BLOCK_SHIFT, PAGE_SHIFT, PAGE_SIZE, Platform, Table},
};
use core::{fmt, panic::Location, sync::atomic::Ordering};

/// What is known of an allocated area.
#[derive(Clone, Copy, Debug)]
pub struct AreaInfo {
    /// First address.
    pub start: usize,
    /// Pages of 4 KiB; a guard page behind them is not counted.
    pub pages: usize,
    /// Guard pages behind them: one, but for what `vm_map_ram` maps inside a block.
    pub guard_pages: usize,
    /// Pages below them where nothing is mapped, if that was [asked for](crate::Request::guard_below): one, or a block.
    pub guard_below: usize,
    /// How many of `pages` are mapped: all, but for congruent areas.
    pub populated: usize,
    /// How many of `pages` are mapped by 2 MiB pages.
    pub huge_pages: usize,
    /// Bytes that were asked for.
    pub requested: usize,
    /// Which call made it.
    pub kind: Kind,
    /// Who called; it is the guard page that remembers.
    pub caller: Option<&'static Location<'static>>,
}

impl AreaInfo {
    /// First address behind the area, and behind its guard page if it has one.
    #[must_use]
    pub fn end(&self) -> usize {
        self.mapped_end() + self.guard_pages * PAGE_SIZE
    }

    /// First address of the guard pages below the area; where it has none, its own.
    #[must_use]
    pub fn guard_start(&self) -> usize {
        self.start - self.guard_below * PAGE_SIZE
    }

    /// Where the area's bytes end, and the guard page starts if there is one.
    #[must_use]
    pub fn mapped_end(&self) -> usize {
        self.start + self.pages * PAGE_SIZE
    }
}

/// One line of `vmallocinfo`: range and size with the guard page behind, caller or `-`, pages, kind.
impl fmt::Display for AreaInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start, self.end());
        let kind = self.kind.name();
        write!(f, "{start:#018x}-{end:#018x} {:>8} ", end - start)?;
        match self.caller {
            Some(caller) => write!(f, "{caller}")?,
            None => f.write_str("-")?,
        }
        write!(f, " pages={} {kind}", self.pages)?;
        if self.populated < self.pages {
            write!(f, " populated={}", self.populated)?;
        }
        if self.huge_pages > 0 {
            write!(f, " huge={}", self.huge_pages / BLOCK_PAGES)?;
        }
        Ok(())
    }
}

/// That interrupts are off while a look at page tables lasts.
pub(crate) struct Look(());

impl Reader for Look {}

impl<P: Platform> Vmalloc<P> {
    /// The area that `address` lies in, or on whose guard page behind or below. May be called anywhere.
    pub fn find_area(&self, address: usize) -> Option<AreaInfo> {
        if !self.range.contains(&address) {
            return None;
        }
        self.look(|look| self.area_at(address, look)).map(|area| self.counted(area))
    }

    /// Runs `look`, which follows a block's role to its leaf table, without interrupts: a table goes
    /// back only after its block's role was taken away and every CPU has flushed, and no flush is over
    /// before this CPU has looked. Nor is a grace period.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Look) -> Option<T>) -> Option<T> {
        let mut found = None;
        self.platform.shootdown().look(&self.platform, || found = look(&Look(())));
        found
    }

    /// As [`find_area`](Self::find_area), but that the pages of congruent areas are not counted.
    pub(crate) fn area_at(&self, address: usize, look: &Look) -> Option<AreaInfo> {
        let offset = address - self.range.start;
        let (number, page) = (offset >> BLOCK_SHIFT, offset >> PAGE_SHIFT & (BLOCK_PAGES - 1));
        let found = match self.table.get(number, look)?.role() {
            Role::Unused | Role::Freed { .. } | Role::Kept { .. } | Role::Leaving => None,
            Role::Congruent { pages, behind } => {
                self.congruent_area(number.checked_sub(behind)?, pages, look)
            }
            Role::Small { .. } => self.small_area(number, page, look),
            Role::GuardBelow => match self.table.get(number + 1, look)?.role() {
                Role::Head { blocks, huge } => {
                    self.run_area(number + 1, blocks as usize, huge as usize, look)
                }
                _ => None,
            },
            Role::Head { blocks, huge } => self.run_area(number, blocks as usize, huge as usize, look),
            Role::Tail { behind } => match self.table.get(number.checked_sub(behind as usize)?, look)?.role()
            {
                Role::Head { blocks, huge } => {
                    self.run_area(number - behind as usize, blocks as usize, huge as usize, look)
                }
                _ => None,
            },
        };
        found.filter(|area| (area.guard_start()..area.end()).contains(&address))
    }

    /// The lowest area at or above `address`.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn next_area(&self, address: usize) -> Option<AreaInfo> {
        self.assert_not_in_interrupt("next_area");
        let offset = address.max(self.range.start) - self.range.start;
        let (mut number, mut page) = (offset >> BLOCK_SHIFT, offset.div_ceil(PAGE_SIZE) & (BLOCK_PAGES - 1));
        if offset & ((1 << BLOCK_SHIFT) - 1) > (BLOCK_PAGES - 1) * PAGE_SIZE {
            number += 1;
        }
        loop {
            let used = self.arena.next_used(&self.platform.pin(), number)?;
            if used != number {
                (number, page) = (used, 0);
            }
            let found = self.look(|look| match self.table.get(number, look).map(|block| block.role()) {
                Some(Role::Small { .. }) => self.next_small_area(number, page, look),
                Some(Role::Head { blocks, huge }) if page == 0 => {
                    self.run_area(number, blocks as usize, huge as usize, look)
                }
                Some(Role::Congruent { pages, behind: 0 }) if page == 0 => {
                    self.congruent_area(number, pages, look)
                }
                _ => None,
            });
            if found.is_some() {
                return found.map(|area| self.counted(area));
            }
            (number, page) = (number + 1, 0);
        }
    }

    /// All areas, from the lowest up.
    ///
    /// # Panics
    /// The iterator does, in an interrupt handler.
    pub fn areas(&self) -> impl Iterator<Item = AreaInfo> {
        let mut from = self.range.start;
        core::iter::from_fn(move || {
            let area = self.next_area(from)?;
            from = area.end();
            Some(area)
        })
    }

    fn next_small_area(&self, number: usize, page: usize, look: &Look) -> Option<AreaInfo> {
        let leaf = self.table.get(number, look)?.leaf(&self.platform)?;
        (page..BLOCK_PAGES)
            .filter(|&page| load(leaf, page).is_first())
            .find_map(|page| self.small_area(number, page, look))
    }

    fn small_area(&self, number: usize, page: usize, look: &Look) -> Option<AreaInfo> {
        let leaf = self.table.get(number, look)?.leaf(&self.platform)?;
        let mut first = match load(leaf, page) {
            entry if entry.is_guard() => page.checked_sub(1)?,
            entry if entry.is_guard_below() => page + 1,
            _ => page,
        };
        while !load(leaf, first).is_first() {
            if !load(leaf, first).is_present() {
                return None;
            }
            first = first.checked_sub(1)?;
        }
        let mut last = first;
        while !load(leaf, last).is_last() {
            if !load(leaf, last).is_present() || last == BLOCK_PAGES - 1 {
                return None;
            }
            last += 1;
        }
        let (start, pages) = (self.address(number, first), last + 1 - first);
        if load(leaf, first).is_ram() {
            return Some(AreaInfo {
                start,
                pages,
                populated: pages,
                guard_pages: 0,
                guard_below: 0,
                huge_pages: 0,
                requested: pages * PAGE_SIZE,
                kind: Kind::VmMapRam,
                caller: None,
            });
        }
        let guard = Entry(leaf.get(last + 1)?.load(Ordering::Acquire));
        let guard_below = usize::from(load(leaf, first).has_guard_below());
        Some(AreaInfo { guard_below, ..describe(start, pages, pages, 0, guard)? })
    }

    fn run_area(&self, number: usize, blocks: usize, huge: usize, look: &Look) -> Option<AreaInfo> {
        let start = match self.mapping(self.table.get(number, look)?)? {
            Mapping::Small(leaf) | Mapping::Unflushed(leaf, _) => load(leaf, 0),
            Mapping::Huge(_, entry) => entry,
        };
        if !start.is_first() {
            // It was just freed, or is not complete.
            return None;
        }
        let guard_below = if start.has_guard_below() { BLOCK_PAGES } else { 0 };
        let leaf = self.table.get(number + blocks - 1, look)?.leaf(&self.platform)?;
        let in_last = (0..BLOCK_PAGES).find(|&page| load(leaf, page).is_guard())?;
        let pages = (blocks - 1) * BLOCK_PAGES + in_last;
        let area = describe(self.address(number, 0), pages, pages, huge * BLOCK_PAGES, load(leaf, in_last))?;
        Some(AreaInfo { guard_below, ..area })
    }

    fn congruent_area(&self, number: usize, pages: usize, look: &Look) -> Option<AreaInfo> {
        // It goes first when the area is freed.
        let Role::Congruent { behind: 0, .. } = self.table.get(number, look)?.role() else { return None };
        let last = self.table.get(number + pages / BLOCK_PAGES, look)?.leaf(&self.platform)?;
        describe(self.address(number, 0), pages, 0, 0, load(last, pages % BLOCK_PAGES))
    }

    /// The area with its populated pages: of a congruent one they are counted block by block, each in a look of
    /// its own, as there may be many.
    fn counted(&self, area: AreaInfo) -> AreaInfo {
        if area.kind != Kind::Congruent {
            return area;
        }
        let first = (area.start - self.range.start) >> BLOCK_SHIFT;
        let present = |leaf: &Table| (0..BLOCK_PAGES).filter(|&page| load(leaf, page).is_present()).count();
        let in_block = |number: usize| {
            self.look(|look| self.table.get(number, look)?.leaf(&self.platform).map(present)).unwrap_or(0)
        };
        let populated = (first..first + blocks_for(area.pages)).map(in_block).sum();
        AreaInfo { populated, ..area }
    }
}

/// What a guard page's entry and the pages before it tell.
fn describe(
    start: usize,
    pages: usize,
    populated: usize,
    huge_pages: usize,
    guard: Entry,
) -> Option<AreaInfo> {
    let info = guard.guard_info()?;
    Some(AreaInfo {
        start,
        pages,
        populated,
        guard_pages: 1,
        guard_below: 0,
        huge_pages,
        requested: pages * PAGE_SIZE - info.slack,
        kind: info.kind,
        caller: Some(info.caller),
    })
}

fn load(table: &Table, index: usize) -> Entry {
    Entry(table[index].load(Ordering::Acquire))
}
