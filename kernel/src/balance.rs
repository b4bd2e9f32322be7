//! What nothing may leave behind: frames, areas, page tables, bytes of the heap, threads, pins, locks in a wrong order.
//!
//! Counted by the test framework before and after each test, and by the console's command `balance`, in a thread that may
//! wait; no lock is taken here.

use crate::{
    arch::cpu,
    memory::{self, frames, heap, percpu},
    services,
    sync::order,
    threads, trace,
};
use alloc::{collections::TryReserveError, format, string::String, vec::Vec};
use vmalloc::{BLOCK_PAGES, BLOCK_SIZE};

/// What must be the same before and after work that leaves nothing behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Frames that nobody accounts for: none, but those of instances that a test made.
    lost_frames: i64,
    /// Frames of areas, but for the heap's.
    area_frames: u64,
    /// Areas, but for the heap's.
    areas: usize,
    /// Leaf tables in whose 2 MiB there is no page of any area.
    idle_tables: usize,
    /// Bytes of the heap that are in use.
    heap_bytes: usize,
    pins: u32,
    /// Threads that were spawned, and live.
    threads: usize,
    /// Pairs of locks that were reported.
    lock_reports: usize,
}

impl Balance {
    /// Counts, once all that is deferred is done, and all that is cached given back.
    ///
    /// # Panics
    /// In an interrupt handler, or where nobody may wait.
    pub fn now() -> Self {
        let vmalloc = memory::vmalloc();
        services::deferred::barrier();
        services::rcu::vfree_rcu_barrier();
        threads::settle();
        percpu::trim();
        vmalloc.trim();
        frames::drain_magazines();
        let (counts, users, heap) = (frames::counts(), services::users(), heap::usage());
        let accounted = users.all();
        Self {
            // Others may take or give some between these looks.
            lost_frames: counts.total.cast_signed() - counts.free.cast_signed() - accounted.cast_signed(),
            area_frames: users.areas,
            areas: vmalloc.areas().count().saturating_sub(heap.areas()),
            idle_tables: idle_tables(),
            heap_bytes: heap.used,
            pins: cpu::pins(),
            threads: threads::living(),
            lock_reports: order::reports(),
        }
    }

    /// Returns what changed since `before`, in words; nothing if it is the same.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let each = |balance: &Self| {
            [
                ("frames that nobody accounts for", balance.lost_frames),
                ("frames of areas", balance.area_frames.cast_signed()),
                ("areas", balance.areas as i64),
                ("page tables of no area", balance.idle_tables as i64),
                ("bytes of the heap", balance.heap_bytes as i64),
                ("pins", balance.pins.into()),
                ("threads", balance.threads as i64),
                ("reports of locks taken in a wrong order", balance.lock_reports as i64),
            ]
        };
        let both = each(before).into_iter().zip(each(self));
        let changed = both.filter(|(before, now)| before.1 != now.1);
        changed.map(|(before, now)| format!("{}: {}, then {}", before.0, before.1, now.1)).collect()
    }
}

/// Counts the leaf tables that no area needs: an area needs one for each 2 MiB that it has other than 2 MiB pages in.
fn idle_tables() -> usize {
    let (mut needed, mut counted) = (0, 0);
    for area in memory::vmalloc().areas() {
        // The block that the area before this one ends in is counted already.
        let first = counted.max(area.guard_start() / BLOCK_SIZE);
        let end = area.end().div_ceil(BLOCK_SIZE);
        needed += end.saturating_sub(first) - area.huge_pages / BLOCK_PAGES;
        counted = counted.max(end);
    }
    memory::vmalloc().stats().leaf_tables.saturating_sub(needed)
}

/// Makes what is made when it is first used and stays: no test and no command that happens to be first leaves it behind.
///
/// # Errors
/// There is too little memory for it.
pub fn make_what_stays() -> Result<(), TryReserveError> {
    trace::make_rings()
}
