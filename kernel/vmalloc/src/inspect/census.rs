//! A census: all areas, each told in few words and at little cost, for who sums them up.

use super::find::View;
use crate::{
    AreaInfo, AreaSummary, Birth, Kind, Platform, Vmalloc,
    blocks::Role,
    page_table::{Entry, GuardInfo, Slot, Slots},
};

impl<P: Platform> Vmalloc<P> {
    /// Tells `sink` of all areas in few words, those together that lie side by side and were asked for alike. It is the way
    /// to sum up a million areas: of most it reads the first entry and that of the guard page. [`areas`](Self::areas) tells
    /// more of each.
    ///
    /// Each block of 2 MiB is looked at in a read-side section of its own, in which `sink` is called: it calls nothing of
    /// the library, and allocates nothing from it. Areas that are allocated or freed meanwhile are told or not, mappings of
    /// `vm_map_ram` also in part.
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
                    Role::Small { .. } => each_of_block(view.leaf(used)?, &mut sink),
                    Role::Head { .. } | Role::Congruent { behind: 0, .. } => {
                        let area = view.area_at(blocks.span().address(used, 0))?;
                        let AreaInfo { caller, kind, pages, made: oldest, .. } = area;
                        sink(AreaSummary { caller, kind, areas: 1, pages, oldest });
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
    /// Returns an area of `pages` pages with this guard page, which is that of the block before `end`.
    fn one(guard: Entry, pages: usize, end: usize) -> Option<Self> {
        guard.is_guard().then(|| Self { guard, areas: 1, pages, oldest: guard.birth(), end })
    }

    /// Returns the areas from page `page` of a block on whose first entries tell how long they are; `None` if there is no such
    /// area.
    // Apart, so that its loop has the registers to itself.
    #[inline(never)]
    fn at(leaf: &Slots, page: usize) -> Option<Self> {
        let next = |page: usize| {
            let entry = leaf.get(page)?.look();
            let pages = entry.pages().filter(|_| entry.is_parkable())?;
            Some((leaf.get(page + pages)?.look(), pages))
        };
        let (guard, pages) = next(page)?;
        let mut alike = Self::one(guard, pages, page + pages + 1)?;
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

/// Tells of the areas in a block that areas share.
fn each_of_block(leaf: &Slots, sink: &mut impl FnMut(AreaSummary)) {
    let mut page = 0;
    while let Some(slot) = leaf.get(page) {
        page = match Alike::at(leaf, page) {
            Some(alike) => {
                alike.tell(sink);
                alike.end
            }
            None => one_of_block(leaf, page, slot.look(), sink),
        };
    }
}

/// Tells of the area that begins at page `page` of a block, if there is one, and returns the page behind it. `entry` is the
/// page's, as it was a moment ago.
#[inline]
fn one_of_block(leaf: &Slots, page: usize, entry: Entry, sink: &mut impl FnMut(AreaSummary)) -> usize {
    if !entry.is_present() && !entry.is_hidden() {
        return page + 1;
    }
    let pages = length(&leaf[page..]);
    if pages == 0 {
        // It was unmapped meanwhile.
        return page + 1;
    }
    let end = page + pages;
    if entry.is_ram() {
        sink(AreaSummary { caller: None, kind: Kind::VmMapRam, areas: 1, pages, oldest: None });
    } else if let Some(area) = leaf.get(end).and_then(|guard| Alike::one(guard.look(), pages, end + 1)) {
        area.tell(sink);
    }
    end
}

/// Returns how many pages the area has whose first page is the first of `slots`.
#[inline(never)]
fn length(slots: &[Slot]) -> usize {
    let shown = |slot: &Slot| slot.look().shown();
    let is_last_of_ram = |entry: Entry| entry.is_ram() && entry.is_last();
    let end = slots.iter().map(shown).position(|entry| !entry.is_present() || is_last_of_ram(entry));
    end.map_or(slots.len(), |end| end + usize::from(shown(&slots[end]).is_present()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Frame, Protection, page_table::Attributes};

    /// Another CPU unmaps a mapping of three pages between two looks at its first entry. What is in front of it was told already.
    ///
    /// Seen failing with the page in front of it looked at again, and with the same one.
    #[test]
    fn what_is_unmapped_meanwhile_is_passed_over() {
        let leaf: Slots = [const { Slot::unused() }; 512];
        let page = |number| Entry::page(Frame::new(number), Attributes::ram(Protection::ReadWrite));
        (7..10).for_each(|number| leaf[number].set(page(number as u64)));
        leaf[7].change(|entry| entry.with_ram_start(3));
        leaf[9].change(Entry::with_last);
        let first = leaf[7].look();
        let mut told = 0;
        let mut look = || one_of_block(&leaf, 7, first, &mut |summary| told += summary.pages);
        assert_eq!(look(), 10, "it is there");
        leaf[7].set_unused();
        assert_eq!((look(), told), (8, 3), "it is not any more");
    }
}
