//! Counters of an instance. Who counts takes the locks of all blocks: not to be done in an interrupt handler.

use crate::{
    Vmalloc,
    areas::run::blocks_for,
    blocks::block::Role,
    blocks::table::BlockTable,
    page_table::directories::{self, ROOT_SHIFT},
    page_table::entry::Entry,
    platform::{BLOCK_PAGES, PAGE_SIZE, Platform, Table},
};
use core::sync::atomic::{AtomicU64, Ordering};

/// Counters of an instance. Pages are of 4 KiB, of address space unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pages of the range.
    pub total: usize,
    /// Pages nobody has and nobody waits for.
    pub free: usize,
    /// Pages that were unmapped and wait for a flush.
    pub lazy: usize,
    /// Frames, of areas that were freed, that wait for a flush.
    pub quarantined: usize,
    /// Frames that free pages, or pages of congruent areas, kept, flushed, to be mapped there again.
    pub kept: usize,
    /// The longest run of free pages in a block, or of free blocks.
    pub largest_free_run: usize,
    /// Frames of the library's own records: descriptors, their directories, the arena's maps. Those of free
    /// blocks go when memory runs short, and by [`trim`](Vmalloc::trim).
    pub metadata_frames: usize,
    /// Bytes of the instance itself.
    pub instance_bytes: usize,
    /// Frames of leaf tables that are linked.
    pub leaf_tables: usize,
    /// Frames of leaf tables in the CPUs' reserves.
    pub reserved_tables: usize,
    /// Frames of directories in the range, shared ones included.
    pub directories: usize,
}

/// What an instance did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Places that searches for free blocks looked at.
    pub search_steps: u64,
    /// Allocations that found no room at first.
    pub overflows: u64,
    /// Attempts that they made again, after a purge or after what is kept was given back.
    pub retries: u64,
    /// Purges that began.
    pub purges: u64,
}

impl Stats {
    /// Frames of page tables, linked or in reserve.
    #[must_use]
    pub fn table_frames(&self) -> usize {
        self.leaf_tables + self.reserved_tables + self.directories
    }

    /// Pages that areas have, guard pages included. The counters are not taken at one moment: while others allocate
    /// and free, a page may be counted as free and as waiting, and the result is then too small, but not below 0.
    #[must_use]
    pub fn used(&self) -> usize {
        self.total.saturating_sub(self.free).saturating_sub(self.lazy)
    }

    /// How many of the free pages are outside of the longest free run, in hundredths of a percent.
    #[must_use]
    pub fn fragmentation(&self) -> usize {
        self.free.saturating_sub(self.largest_free_run) * 10_000 / self.free.max(1)
    }

    /// All bytes of metadata: records and the instance itself, not page tables.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        self.metadata_frames * PAGE_SIZE + self.instance_bytes
    }
}

impl<P: Platform> Vmalloc<P> {
    /// What the instance did so far.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn tally(&self) -> Tally {
        self.assert_not_in_interrupt("tally");
        Tally {
            search_steps: self.arena.stats(&self.platform.pin()).steps,
            overflows: self.overflows.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            purges: self.purges_begun(),
        }
    }

    /// Counts. Walks all that was ever used: not for hot paths.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn stats(&self) -> Stats {
        self.assert_not_in_interrupt("stats");
        // So that what nobody has is free.
        self.give_all_ahead();
        let arena = self.arena.stats(&self.platform.pin());
        let mut stats = Stats {
            total: self.blocks() * BLOCK_PAGES,
            free: arena.free * BLOCK_PAGES,
            largest_free_run: arena.longest_run * BLOCK_PAGES,
            metadata_frames: self.table_frames() + arena.maps,
            instance_bytes: size_of::<Self>(),
            reserved_tables: self.reserves.iter().map(|reserve| reserve.len(&self.platform.pin())).sum(),
            directories: self.count_directories(),
            kept: self.spares(),
            lazy: self.deferred_pages.load(Ordering::Relaxed),
            ..Stats::default()
        };
        for number in self.known_blocks() {
            self.count_block(number, &mut stats);
        }
        stats
    }

    fn count_block(&self, number: usize, stats: &mut Stats) {
        let pin = self.platform.pin();
        let Some(block) = self.table.get(number, &pin) else { return };
        let pages = block.pages.lock(&pin);
        let leaf = block.leaf(&self.platform);
        stats.leaf_tables += usize::from(leaf.is_some());
        let role = block.role();
        match role {
            Role::Small { .. } => {
                stats.free += pages.free();
                stats.largest_free_run = stats.largest_free_run.max(pages.longest_run());
            }
            Role::Kept { pages, flushed: true, .. } => {
                stats.free += BLOCK_PAGES;
                stats.largest_free_run = stats.largest_free_run.max(blocks_for(pages) * BLOCK_PAGES);
            }
            Role::Kept { .. } => stats.lazy += BLOCK_PAGES,
            Role::Freed { blocks, .. } => stats.lazy += blocks as usize * BLOCK_PAGES,
            _ => {}
        }
        if role.has_pages() {
            stats.lazy += pages.stale();
        }
        let keeps = |page: usize| match role {
            Role::Kept { flushed, .. } => flushed,
            _ => role.has_pages() && pages.is_free(page),
        };
        let waits = |slot: &AtomicU64| Entry(slot.load(Ordering::Relaxed)).quarantined_frame().is_some();
        for (page, slot) in leaf.into_iter().flat_map(|leaf| leaf.iter()).enumerate() {
            *(if keeps(page) { &mut stats.kept } else { &mut stats.quarantined }) += usize::from(waits(slot));
        }
        if leaf.is_none() && self.look(|_| self.block_entry(number).filter(|slot| waits(slot))).is_some() {
            stats.quarantined += BLOCK_PAGES;
        }
    }

    /// Frames of descriptors, and of pointers to them.
    fn table_frames(&self) -> usize {
        (0..BlockTable::DIRECTORIES).map(|index| self.table.frames(index, &self.platform.pin())).sum()
    }

    fn count_directories(&self) -> usize {
        // SAFETY: promise 4 of `Platform`.
        let root = unsafe { directories::table(&self.platform, self.platform.root()) };
        let last = (self.range.end - 1) >> ROOT_SHIFT;
        let linked = |table: &Table, index: usize| {
            Some(Entry(table[index].load(Ordering::Acquire))).filter(|entry| entry.is_present())
        };
        (self.range.start >> ROOT_SHIFT..=last)
            .filter_map(|number| linked(root, number & 511))
            .map(|entry| {
                // SAFETY: a present entry of the root in the range links a directory, which stays.
                let upper = unsafe { directories::table(&self.platform, entry.frame()) };
                1 + (0..512).filter(|&index| linked(upper, index).is_some()).count()
            })
            .sum()
    }
}
