//! Counters: what an instance has allocated, caches and waits for, and what it did so far.

use crate::PAGE_SIZE;

/// What an instance has allocated, caches and waits for, as [`stats`](crate::Vmalloc::stats) counts it. Pages and
/// frames are of 4 KiB; pages are pages of address space.
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
    /// Frames cached in the entries of pages that are free, or not populated, and flushed: they are mapped there again.
    pub kept: usize,
    /// The longest run of free pages in a block, or of free blocks.
    pub largest_free_run: usize,
    /// Frames of the library's own records: descriptors, the directories of these, the arena's maps, the CPUs' magazines. Those
    /// of free blocks, and magazines, go back when memory runs short, and by [`trim`](crate::Vmalloc::trim).
    pub metadata_frames: usize,
    /// Frames that the instance has until it is dropped: one for each CPU that ever allocated from it, and five or more
    /// besides.
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

/// What an instance did since it was made, as [`tally`](crate::Vmalloc::tally) reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Words, tree nodes and maps that searches for free blocks examined.
    pub search_steps: u64,
    /// Allocations that ran out of address space or frames at first.
    pub overflows: u64,
    /// Attempts that these made again, after a purge or after caches were given back.
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

    /// Returns how many pages areas have, guard pages included. The counters are not read at one moment: while others allocate
    /// and free, a page may be counted twice, or not at all while its block is opened, so that the result is too small or too
    /// large by what changed meanwhile. It is never below zero.
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

/// What the pages of one block of 2 MiB are, or those of a freed run of blocks: see
/// [`Vmalloc::for_each_block`](crate::Vmalloc::for_each_block). Each page is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats {
    /// Number of the block, from the beginning of the range; of a freed run, of its first.
    pub first: usize,
    /// Blocks that are told of: 1, but of a freed run.
    pub blocks: usize,
    /// Pages that are mapped, or are of an area that nobody may access.
    pub live: usize,
    /// Pages with a frame that a CPU has for its next areas: of parked areas, and of what it hands out next.
    pub parked: usize,
    /// Pages that were freed and wait for a purge.
    pub dirty: usize,
    /// Pages that the purge under way flushes.
    pub flushing: usize,
    /// Free pages that keep a frame for the next area.
    pub cached: usize,
    /// Guard pages, and what the last block of a run has behind its guard page.
    pub guard: usize,
    /// Free pages without a frame.
    pub free: usize,
}
