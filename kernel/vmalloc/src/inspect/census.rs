//! A census: all areas, each told in few words and at little cost, for who sums them up.

use super::find::View;
use crate::{Kind, Platform, Vmalloc, blocks::Role, page_table::Slots};
use core::panic::Location;

impl<P: Platform> Vmalloc<P> {
    /// Tells `sink` of each area who made it (`None` for a mapping of `vm_map_ram` that shares a block), of what kind it
    /// is, and how many pages of 4 KiB it has, guard pages not counted. It reads each page table entry once, so it is the
    /// way to sum up a million areas; [`areas`](Self::areas) tells more of each.
    ///
    /// Each block of 2 MiB is looked at in a read-side section of its own, in which `sink` is called: it calls nothing of
    /// the library, and allocates nothing from it. Areas that are allocated or freed meanwhile are told or not.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[doc(alias = "page_owner")]
    pub fn for_each_area(&self, mut sink: impl FnMut(Option<&'static Location<'static>>, Kind, usize)) {
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
                        sink(area.caller, area.kind, area.pages);
                    }
                    _ => {}
                }
                Some(())
            });
            number = used + 1;
        }
    }
}

/// Tells of the areas in a block that areas share.
fn each_of_block(leaf: &Slots, sink: &mut impl FnMut(Option<&'static Location<'static>>, Kind, usize)) {
    let mut first = None;
    for (page, slot) in leaf.iter().enumerate() {
        let entry = slot.look();
        // Nearly all are as they look: only a page that nobody may access hides that it is one.
        let shown = if entry.is_present() { entry } else { entry.shown() };
        if !shown.is_present() {
            if let Some(first) = first.take()
                && let Some(info) = entry.guard_info()
            {
                sink(Some(info.caller), info.kind, page - first);
            }
            continue;
        }
        if shown.is_first() {
            first = Some(page);
        }
        if shown.is_last() && shown.is_ram() {
            first.take().inspect(|first| sink(None, Kind::VmMapRam, page + 1 - first));
        }
    }
}
