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
        if let Some(alike) = Alike::at(leaf, page) {
            alike.tell(sink);
            page = alike.end;
            continue;
        }
        let entry = slot.look();
        if !entry.is_present() && !entry.is_hidden() {
            page += 1;
            continue;
        }
        let pages = length(&leaf[page..]);
        if pages == 0 {
            // It was unmapped meanwhile.
            page += 1;
            continue;
        }
        page += pages;
        if entry.is_ram() {
            sink(AreaSummary { caller: None, kind: Kind::VmMapRam, areas: 1, pages, oldest: None });
        } else if let Some(area) = leaf.get(page).and_then(|guard| Alike::one(guard.look(), pages, page + 1))
        {
            area.tell(sink);
        }
    }
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
    extern crate std;

    use super::*;
    use crate::{Frame, Protection, page_table::Attributes};
    use core::{
        hint,
        sync::atomic::{AtomicUsize, Ordering},
    };
    use std::{thread, vec, vec::Vec};

    const ROUNDS: usize = 2000;

    /// Waits for a number that another thread stores, and lets others run only when that takes long: it must be quick to see it.
    fn wait_for(number: &AtomicUsize, wanted: usize) {
        let mut looks = 0;
        while number.load(Ordering::Acquire) != wanted {
            looks += 1;
            if looks % 20_000 == 0 { thread::yield_now() } else { hint::spin_loop() }
        }
    }

    /// Another CPU unmaps a mapping while the first of its pages is looked at: what is in front of it is told once.
    ///
    /// Seen failing with a step back there, on a machine of two CPUs, where it comes to that in a hundredth of the rounds.
    #[test]
    fn what_is_unmapped_meanwhile_is_passed_over() {
        let leaf: Slots = [const { Slot::unused() }; 512];
        let page = |number| Entry::page(Frame::new(number), Attributes::ram(Protection::ReadWrite));
        // Mappings of seven pages and of three.
        (0..10).for_each(|number| leaf[number].set(page(number as u64 + 1)));
        leaf[0].change(|entry| entry.with_ram_start(7));
        [6, 9].iter().for_each(|&last| leaf[last].change(Entry::with_last));
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let told: Vec<Vec<usize>> = thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    wait_for(&begun, round);
                    leaf[7].set_unused();
                    done.store(round, Ordering::Release);
                }
            });
            let one_round = |round: usize| {
                leaf[7].set(page(8).with_ram_start(3));
                let mut told = Vec::new();
                each_of_block(&leaf, &mut |summary| {
                    told.push(summary.pages);
                    if told.len() == 1 {
                        begun.store(round, Ordering::Release);
                        // So that each round is cut elsewhere.
                        (0..round % 50).for_each(|_| _ = hint::black_box(leaf[7].get()));
                    }
                });
                wait_for(&done, round);
                told
            };
            (1..=ROUNDS).map(one_round).collect()
        });
        // Seen whole, or in part.
        let wrong = told.iter().find(|&told| *told != vec![7, 3] && *told != vec![7, 2]);
        assert_eq!(wrong, None);
    }
}
