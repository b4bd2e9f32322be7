//! Counters: `stats` counts what is there now, by a walk; `tally` counts what the instance did since it was made; flushes
//! are counted in [`Shootdown::counters`](crate::Shootdown::counters). `stats` takes the lock of each block, one after
//! the other, which must not be done in an interrupt handler.

use crate::{
    BLOCK_PAGES, Platform, Stats, Tally, Vmalloc,
    blocks::{Block, Role},
    page_table::{directories, slot::Slot},
    span::run_blocks,
};
use core::ops::Range;

impl<P: Platform> Vmalloc<P> {
    /// Returns counters of what the instance did since it was made: searches, retries, purges.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn tally(&self) -> Tally {
        self.base().assert_not_in_interrupt("tally");
        self.reclaim().tally()
    }

    /// Counts what is allocated, cached and waiting for a flush. It walks the leaf tables of all blocks in use, so it is
    /// slow: [`lazy_pages`](Self::lazy_pages) and [`tally`](Self::tally) are not.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn stats(&self) -> Stats {
        self.base().assert_not_in_interrupt("stats");
        let (blocks, pools) = (self.blocks(), &self.areas_room().pools);
        // What no area has counts as free.
        pools.give_all_bumps();
        let arena = blocks.arena.stats(&self.platform().pin());
        let noted = self.areas_room().magazines.count(&self.platform().pin());
        let frames = self.base().records.frames() + blocks.table.root_frames() + arena.frames;
        let records = |index| blocks.table.frames(index, &self.platform().pin());
        let mut stats = Stats {
            total: blocks.span().blocks() * BLOCK_PAGES,
            free: arena.free * BLOCK_PAGES + noted.supply,
            largest_free_run: arena.longest_run * BLOCK_PAGES,
            metadata_frames: (0..blocks.table.directories()).map(records).sum::<usize>()
                + arena.maps
                + noted.own_frames
                + self.base().remembered.frames(&self.platform().pin()),
            parked: noted.parked,
            parked_frames: noted.frames,
            instance_frames: frames,
            instance_bytes: size_of::<Self>(),
            reserved_tables: blocks.reserved_leaves(),
            directories: directories::count(self.platform(), self.range()),
            kept: pools.spares(),
            lazy: self.pending().deferred_pages() + noted.unmapped,
            ..Stats::default()
        };
        for number in blocks.known() {
            let pin = self.platform().pin();
            blocks.read_side(|side| {
                blocks.find(number, side).map(|block| self.count_block(block, &pin, &mut stats))
            });
        }
        stats
    }

    /// Counts what a block has. Its leaf table stays while its pages are locked, and the directory above while the read-side
    /// section lasts.
    fn count_block(&self, block: &Block, pin: &P::Pin, stats: &mut Stats) {
        let blocks = self.blocks();
        let pages = block.pages.lock(pin);
        let leaf = block.leaf(self.platform());
        stats.leaf_tables += usize::from(leaf.is_some());
        let role = block.role();
        let (free, run, lazy) = match role {
            Role::Small { .. } => (pages.free(), pages.longest_run(), pages.stale()),
            Role::Cached { pages, flushed: true, .. } => (BLOCK_PAGES, run_blocks(pages) * BLOCK_PAGES, 0),
            Role::Cached { .. } => (0, 0, BLOCK_PAGES),
            Role::Freed { blocks, .. } => (0, 0, blocks as usize * BLOCK_PAGES),
            // Until it is closed nobody has its pages, those that never had a frame included.
            Role::Leaving => (0, 0, BLOCK_PAGES),
            role if role.has_pages() => (0, 0, pages.stale()),
            _ => (0, 0, 0),
        };
        stats.free += free;
        stats.largest_free_run = stats.largest_free_run.max(run);
        stats.lazy += lazy;
        let is_flushed = |page: usize| match role {
            Role::Cached { flushed, .. } => flushed,
            _ => role.has_pages() && pages.is_free(page),
        };
        let is_stale = |page: usize| !role.has_pages() || !pages.are_live(page, 1);
        let waits = |slot: &Slot| slot.cached_frame().is_some();
        for (page, slot) in leaf.into_iter().flat_map(|leaf| leaf.iter()).enumerate() {
            // Those of live pages are parked.
            if waits(slot) && is_flushed(page) {
                stats.kept += 1;
            } else if waits(slot) && is_stale(page) {
                stats.quarantined += 1;
            }
        }
        if leaf.is_none() && blocks.directory_slot(block.number()).is_some_and(waits) {
            stats.quarantined += BLOCK_PAGES;
        }
    }

    /// Returns how many pages wait for a flush, without a walk. It is what [`Stats::lazy`] counts, less the
    /// blocks that had become empty before and whose tables wait. While other CPUs free or purge it is
    /// approximate, and may be negative. It may be called in any context.
    #[doc(alias = "vmap_lazy_nr")]
    pub fn lazy_pages(&self) -> i64 {
        self.pending().lazy_pages() + self.areas_room().magazines.unmapped(&self.platform().pin()) as i64
    }

    /// Returns how many pages may wait for a flush before a purge is due: what
    /// [`Tunables::lazy_max_pages`](crate::Tunables::lazy_max_pages) says; or, while that is 0, 32 MiB, and as much again
    /// for each doubling of the number of CPUs, but a 16th of the memory at most. It may be called in any context.
    #[doc(alias = "lazy_max_pages")]
    pub fn lazy_max(&self) -> usize {
        self.pending().lazy_max()
    }

    /// Gives `sink` the ranges of addresses that were freed and wait for a flush, the lowest first. What interrupt
    /// handlers freed, and what CPUs last unmapped by `vm_unmap_ram`, is included once a purge has come to it.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn lazy_ranges(&self, sink: impl FnMut(Range<usize>)) {
        self.base().assert_not_in_interrupt("lazy_ranges");
        self.pending().ranges(sink);
    }
}
