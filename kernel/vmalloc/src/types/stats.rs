//! Counters of an instance.

use crate::PAGE_SIZE;

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
    /// blocks go when memory runs short, and by [`trim`](crate::Vmalloc::trim).
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
