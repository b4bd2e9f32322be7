//! A map of the address space: what the pages of each block are, for who draws it.

use crate::{
    BLOCK_PAGES, BlockStats, Platform, Vmalloc,
    blocks::{Block, Pages, Role},
    page_table::slot::Slot,
};

impl<P: Platform> Vmalloc<P> {
    /// Tells `sink` what the pages of each block in use are, the lowest block first. It takes the lock of
    /// each block, one after the other, and reads each page table entry once. What others allocate and free
    /// meanwhile is reported as it is when its turn comes. `sink` is called with no lock held.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn for_each_block(&self, mut sink: impl FnMut(BlockStats)) {
        self.base().assert_not_in_interrupt("for_each_block");
        let blocks = self.blocks();
        let counted = |number| {
            let pin = self.platform().pin();
            blocks.read_side(|side| self.count_pages(blocks.find(number, side)?, &pin))
        };
        blocks.known().filter_map(counted).for_each(&mut sink);
    }

    /// Counts the pages of a block, whose table may go when the read-side section ends.
    fn count_pages(&self, block: &Block, pin: &P::Pin) -> Option<BlockStats> {
        let pages = block.pages.lock(pin);
        let mut stats = BlockStats { first: block.number(), blocks: 1, ..BlockStats::default() };
        match block.role() {
            Role::Unused => return None,
            role if role.has_pages() => self.count_each(block, &pages, &mut stats),
            Role::Freed { blocks, .. } => {
                stats.blocks = blocks as usize;
                stats.dirty = stats.blocks * BLOCK_PAGES;
            }
            Role::Cached { flushed: true, .. } => stats.cached = BLOCK_PAGES,
            Role::Cached { .. } => stats.dirty = BLOCK_PAGES,
            _ => {
                let leaf = block.leaf(self.platform());
                let live = |slot: &&Slot| slot.look().shown().is_present();
                // Without a leaf table a 2 MiB page maps it, but below a run nothing is mapped.
                stats.live = match (leaf, block.role()) {
                    (Some(leaf), _) => leaf.iter().filter(live).count(),
                    (None, Role::GuardBelow) => 0,
                    (None, _) => BLOCK_PAGES,
                };
                stats.guard = BLOCK_PAGES - stats.live;
            }
        }
        Some(stats)
    }

    /// Counts the pages of a block that tells of each.
    fn count_each(&self, block: &Block, pages: &Pages, stats: &mut BlockStats) {
        let Some(leaf) = block.leaf(self.platform()) else { return stats.free = BLOCK_PAGES };
        let is_congruent = matches!(block.role(), Role::Congruent { .. });
        for (page, slot) in leaf.iter().enumerate() {
            let (entry, has_frame) = (slot.look(), slot.cached_frame().is_some());
            *if pages.is_flushing(page) {
                &mut stats.flushing
            } else if pages.is_free(page) {
                // Those of a congruent area are its own, populated or not.
                match (is_congruent, has_frame) {
                    (true, _) => &mut stats.guard,
                    (false, true) => &mut stats.cached,
                    (false, false) => &mut stats.free,
                }
            } else if !pages.are_live(page, 1) {
                &mut stats.dirty
            } else if entry.is_guard() {
                &mut stats.guard
            } else if entry.shown().is_present() {
                &mut stats.live
            } else if has_frame {
                &mut stats.parked
            } else {
                // A CPU has it for what it hands out next.
                &mut stats.free
            } += 1;
        }
    }
}
