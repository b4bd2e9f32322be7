//! A census: all areas, each told in few words and at little cost, for who sums them up.

use super::find::View;
use crate::{
    AreaInfo, AreaSummary, BLOCK_PAGES, Birth, Platform, Vmalloc,
    blocks::Role,
    page_table::{Entry, GuardInfo, Slots},
};

impl<P: Platform> Vmalloc<P> {
    /// Reports all areas to `sink` in few words; those that lie side by side and were requested alike are
    /// combined. It is the way to sum up a million areas: of most it reads the first entry and that of the
    /// guard page. [`areas`](Self::areas) reports more of each.
    ///
    /// Each 2 MiB block is examined in a read-side section of its own, in which `sink` is called: `sink` must not call
    /// the library, nor allocate from it. Areas that are allocated or freed meanwhile may or may not be reported.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[doc(alias = "page_owner")]
    pub fn for_each_area(&self, mut sink: impl FnMut(AreaSummary)) {
        self.base().assert_not_in_interrupt("for_each_area");
        let blocks = self.blocks();
        let mut number = 0;
        while let Some(used) = { blocks.arena.next_used(&blocks.platform().pin(), number) } {
            // What is being freed has nothing to tell.
            let _ = blocks.read_side(|side| {
                let view = View { blocks, side };
                match view.block(used)?.role() {
                    Role::Small { .. } => each_of_block(&view, used, view.leaf(used)?, &mut sink),
                    Role::Head { .. } | Role::Congruent { behind: 0, .. } => {
                        sink(summary(&view.area_at(blocks.span().address(used, 0))?));
                    }
                    _ => {}
                }
                Some(())
            });
            number = used + 1;
        }
    }
}

/// Areas side by side that were asked for alike.
#[derive(Clone, Copy)]
struct Alike {
    /// The entry of the guard page behind the first one.
    guard: Entry,
    areas: usize,
    pages: usize,
    oldest: Birth,
    /// The page of the block behind the last one and its guard page.
    end: usize,
}

impl Alike {
    /// Returns the areas from page `page` of a block on whose first entries tell how long they are; `None` if there is no such
    /// area.
    // Apart, so that its loop has the registers to itself.
    #[inline(never)]
    fn at(leaf: &Slots, page: usize) -> Option<Self> {
        let next = |page: usize| {
            let entry = leaf.get(page)?.look();
            let pages = entry.pages().filter(|_| entry.is_plain_start())?;
            Some((leaf.get(page + pages)?.look(), pages))
        };
        let (guard, pages) = next(page)?;
        let oldest = guard.is_guard().then(|| guard.birth())?;
        let mut alike = Self { guard, areas: 1, pages, oldest, end: page + pages + 1 };
        while let Some((guard, pages)) = next(alike.end)
            && guard.is_asked_like(alike.guard)
        {
            alike.areas += 1;
            alike.pages += pages;
            alike.oldest = alike.oldest.min(guard.birth());
            alike.end += pages + 1;
        }
        Some(alike)
    }

    fn tell(self, sink: &mut impl FnMut(AreaSummary)) {
        let Self { guard, areas, pages, oldest, .. } = self;
        if let Some(GuardInfo { caller, kind, .. }) = guard.guard_info() {
            sink(AreaSummary { caller: Some(caller), kind, areas, pages, oldest: Some(oldest) });
        }
    }
}

fn summary(area: &AreaInfo) -> AreaSummary {
    let &AreaInfo { caller, kind, pages, made: oldest, .. } = area;
    AreaSummary { caller, kind, areas: 1, pages, oldest }
}

/// Tells of the areas in a block that areas share, which has this leaf table.
fn each_of_block<P: Platform>(
    view: &View<'_, P>,
    number: usize,
    leaf: &Slots,
    sink: &mut impl FnMut(AreaSummary),
) {
    let mut page = 0;
    while page < BLOCK_PAGES {
        page = if let Some(alike) = Alike::at(leaf, page) {
            alike.tell(sink);
            alike.end
        } else if let Some(area) = view.small_area_at(number, page) {
            sink(summary(&area));
            page + area.pages + area.guard_pages
        } else {
            page + 1
        };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use super::*;
    use crate::{
        PAGE_SIZE, Request,
        tests::{machine::Machine, support::*},
    };
    use std::vec::Vec;

    /// Another CPU has unmapped the first page of an area already. What follows is told once, and so is what was in front.
    ///
    /// Seen failing with a search that ends there.
    #[test]
    fn what_is_half_unmapped_is_passed_over() {
        let machine = Machine::new(1, 500);
        let vmalloc = instance(&machine, 4);
        let sizes = [20, 30, 40];
        let areas = sizes.map(|pages| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room"));
        let told = || {
            let mut told = Vec::new();
            vmalloc.for_each_area(|summary| told.push((summary.areas, summary.pages)));
            told
        };
        assert_eq!(told(), [(1, 20), (1, 30), (1, 40)]);
        let pin = Platform::pin(&&machine);
        let first = vmalloc.blocks().area_start(address(areas[1]), &pin);
        let entry = first.get();
        first.change(Entry::quarantined);
        assert_eq!(told(), [(1, 20), (1, 40)]);
        first.set(entry);
        drop(pin);
        areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    }

    /// Seen failing with each found again and again.
    #[test]
    fn areas_of_one_page_with_a_guard_below_are_told_once() {
        let machine = Machine::new(1, 500);
        let vmalloc = instance(&machine, 4);
        let areas = [(); 2].map(|()| vmalloc.allocate(Request::new(1).guard_below()).expect("room"));
        let mut told = 0;
        vmalloc.for_each_area(|summary| {
            assert_eq!((summary.areas, summary.pages), (1, 1));
            told += 1;
            assert!(told <= 2, "one is told again");
        });
        assert_eq!(told, 2);
        areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    }
}
