//! Counters: what an instance has allocated, caches and waits for, and what it did so far.

use crate::PAGE_SIZE;

/// What an instance has allocated, cached and waiting for a flush, as [`stats`](crate::Vmalloc::stats) counts
/// it. Pages and frames are of 4 KiB; pages are pages of address space.
#[doc(alias = "vmalloc_info")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Pages of the range.
    pub total: usize,
    /// Pages that can be allocated without a flush.
    pub free: usize,
    /// Pages that were unmapped and wait for a flush.
    #[doc(alias = "vmap_lazy_nr")]
    pub lazy: usize,
    /// Pages of freed areas that are parked in the CPUs' magazines, guard pages included: the next allocations of the same
    /// sizes take them, without a flush.
    pub parked: usize,
    /// Frames of freed areas that wait for a flush.
    pub quarantined: usize,
    /// Frames of parked areas.
    pub parked_frames: usize,
    /// Frames cached in entries of flushed pages that are free or unpopulated: they are mapped there again.
    pub kept: usize,
    /// The longest run of free pages in a block, or of free blocks.
    pub largest_free_run: usize,
    /// Frames of the library's records: descriptors, their directories, the arena's maps, magazines, remembered frees.
    /// Those of free blocks, and magazines, go back when memory is short, and by [`trim`](crate::Vmalloc::trim).
    pub metadata_frames: usize,
    /// Frames that the instance holds until it is dropped: one for each CPU that ever allocated from
    /// it, and at least five more.
    pub instance_frames: usize,
    /// Bytes of the instance itself.
    pub instance_bytes: usize,
    /// Frames of leaf tables that are linked.
    pub leaf_tables: usize,
    /// Frames of leaf tables in the CPUs' reserves.
    pub reserved_tables: usize,
    /// Frames of the page tables above the leaf tables, those shared with other ranges included.
    pub directories: usize,
}

/// What an instance has done since it was made, as [`tally`](crate::Vmalloc::tally) reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Words, tree nodes and maps that searches for free blocks examined.
    pub search_steps: u64,
    /// Allocations that ran out of address space or frames at first.
    pub overflows: u64,
    /// Further attempts that these made, after a purge or after caches were given back.
    pub retries: u64,
    /// Purges that began.
    pub purges: u64,
    /// Pages of address space that purges made free.
    pub purged: u64,
}

impl Stats {
    /// Returns how many frames page tables take, linked ones and those in reserve.
    #[must_use]
    pub fn table_frames(&self) -> usize {
        self.leaf_tables + self.reserved_tables + self.directories
    }

    /// Returns how many pages areas have, guard pages included. The counters are not read all at once: while
    /// others allocate and free, a page may be counted twice, or not at all while its block is being opened,
    /// so that the result is too small or too large by what changed meanwhile. It is never below zero.
    #[doc(alias = "VmallocUsed")]
    #[must_use]
    pub fn used(&self) -> usize {
        self.total.saturating_sub(self.free).saturating_sub(self.lazy).saturating_sub(self.parked)
    }

    /// Returns the share of the free pages that lie outside of the longest free run, in hundredths of a percent.
    #[must_use]
    pub fn fragmentation(&self) -> usize {
        self.free.saturating_sub(self.largest_free_run) * 10_000 / self.free.max(1)
    }

    /// Returns the bytes of the library's own data: its records and the instance itself, without page tables.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        (self.metadata_frames + self.instance_frames) * PAGE_SIZE + self.instance_bytes
    }
}

/// How many pages of one block of 2 MiB, or of a freed run of blocks, are in each state: see
/// [`Vmalloc::for_each_block`](crate::Vmalloc::for_each_block). Each page is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats {
    /// Number of the block, counted from the beginning of the range; for a freed run, of its first block.
    pub first: usize,
    /// Blocks that this reports on: 1, except for a freed run.
    pub blocks: usize,
    /// Pages that are mapped, or that are an area's but nobody may access.
    pub live: usize,
    /// Pages with a frame that a CPU keeps for its next areas: of parked areas, or to be handed out next.
    pub parked: usize,
    /// Pages that were freed and wait for a purge.
    pub dirty: usize,
    /// Pages that the purge under way is flushing.
    pub flushing: usize,
    /// Free pages that keep a frame for the next area.
    pub cached: usize,
    /// Guard pages, what lies behind one in a run's last block, and unpopulated pages of congruent areas.
    pub guard: usize,
    /// Free pages without a frame.
    pub free: usize,
}
