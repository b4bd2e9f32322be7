//! Who has the frames that are not free: for reports, and for tests that compare before and after. Called with no
//! lock held.

use super::rcu;
use crate::memory::{count_tables, heap, vmalloc};
use vmalloc::{AreaInfo, Kind, PAGE_SIZE};

/// Who has the frames that are not free. Together with those they are all frames there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// Page tables, those in the CPUs' reserves included.
    pub page_tables: u64,
    /// The vmalloc library's records.
    pub records: u64,
    /// Freed areas, until every CPU has flushed.
    pub quarantined: u64,
    /// Freed areas that are parked, for the next allocations of the same sizes.
    pub parked: u64,
    /// Frames cached in free pages of vmalloc, to be mapped again.
    pub kept: u64,
    /// Pages in which areas are noted that wait for a grace period.
    pub deferred: u64,
    /// The heap's chunks, and its large objects.
    pub heap: u64,
    /// Areas from vmalloc, but for the heap's, and for those that map frames of others.
    pub areas: u64,
}

impl Users {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.page_tables
            + self.records
            + self.quarantined
            + self.parked
            + self.kept
            + self.deferred
            + self.heap
            + self.areas
    }
}

/// Counts who has the frames, exactly while nobody takes or gives any. Looks at all page tables and all areas. Called in
/// a thread, pinned or not.
pub fn users() -> Users {
    let stats = vmalloc().stats();
    // The instance's own bytes are the image's; its records for each CPU are frames.
    let per_cpu = (stats.instance_bytes - size_of_val(vmalloc())) / PAGE_SIZE;
    let heap = (heap::usage().size / PAGE_SIZE) as u64;
    let owned = |area: &AreaInfo| matches!(area.kind, Kind::Vmalloc | Kind::Congruent);
    let mapped: usize = vmalloc().areas().filter(owned).map(|area| area.populated).sum();
    Users {
        page_tables: (count_tables() + stats.reserved_tables) as u64,
        records: (stats.metadata_frames + per_cpu) as u64,
        quarantined: stats.quarantined as u64,
        parked: stats.parked_frames as u64,
        kept: stats.kept as u64,
        deferred: rcu::waiting().1 as u64,
        heap,
        // The heap may grow meanwhile.
        areas: (mapped as u64).saturating_sub(heap),
    }
}
