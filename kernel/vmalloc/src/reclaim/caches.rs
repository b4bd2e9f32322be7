//! Caches: all that an instance caches for speed, in one list, and giving it back.
//!
//! [`trim`](crate::Vmalloc::trim) and an allocation that ran out of room (`shortage`) give back what this list names, so
//! nothing that is cached anywhere, on whatever CPU, stands in anybody's way. A cache that is added gets a name here, and
//! `tests/reclaim/caches.rs` demands that it be filled on another CPU and had by an allocation.
//!
//! `trim` and `release` take the turn (`turn`); who runs short has it. Each step takes the locks of what it gives back,
//! one at a time.

use self::Cached::{
    ClosedBlocks, Current, Directories, EmptyBlocks, Lazy, Magazines, PageFrames, Records, Runs, Spares,
    Tables,
};
use super::Reclaim;
use crate::{Platform, magazines::Closed};

/// A kind of thing that is cached for speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cached {
    /// Areas that are parked in the CPUs' magazines, and the frames of those. They wait for a grace period, so they go
    /// before the turn is taken, and stay closed while it is needed that nothing is parked.
    Magazines,
    /// What was unmapped and waits for a flush.
    Lazy,
    /// The pools' current blocks, and the bump runs that CPUs took from them.
    Current,
    /// Frames that are cached in the entries of free pages.
    PageFrames,
    /// The frame that had been cached where a guard page is now, one for each pool.
    Spares,
    /// Blocks of small areas that are entirely free.
    EmptyBlocks,
    /// Runs, with their tables and frames.
    Runs,
    /// Blocks that were closed: their tables, and what else was unmapped since, wait for a flush.
    ClosedBlocks,
    /// Leaf tables in the CPUs' reserves.
    Tables,
    /// Directories of page tables below which nothing is mapped.
    Directories,
    /// Descriptors, and maps of the arena, of blocks that are free. They wait for a grace period, so they go last, and
    /// not in one turn with the others.
    Records,
}

impl Cached {
    /// In the order in which it is given back: the first may add to those behind.
    pub const ALL: [Self; 11] = [
        Magazines,
        Lazy,
        Current,
        PageFrames,
        Spares,
        EmptyBlocks,
        Runs,
        ClosedBlocks,
        Tables,
        Directories,
        Records,
    ];
}

const _: () = assert!(Cached::ALL.len() == Records as usize + 1, "a kind is missing in the list");

impl<P: Platform> Reclaim<P> {
    /// Flushes what waits, and gives back what is cached; see [`Vmalloc::trim`](crate::Vmalloc::trim).
    pub fn trim(&self) {
        let _closed = self.close_magazines();
        self.in_turn(|| self.release_caches());
        self.release_records();
    }

    /// Retires what is parked on all CPUs. While the result lives nothing is parked anew.
    pub(super) fn close_magazines(&self) -> Closed<'_> {
        let closed = self.areas.magazines.close();
        self.areas.release_magazines(&closed);
        closed
    }

    /// Retires what is parked on all CPUs, and lets nothing be parked any more; or lets it again.
    pub fn bar_magazines(&self, bar: bool) {
        if bar { self.close_magazines().keep() } else { self.areas.magazines.reopen() }
    }

    /// Gives everything back, and the records if nothing is allocated any more: nobody uses the instance.
    pub fn release(&mut self) {
        drop(self.close_magazines());
        self.in_turn(|| self.release_caches());
        let blocks = &mut self.areas.pools.pending.blocks;
        if blocks.arena.stats(&blocks.base.platform.pin()).free == blocks.base.span.blocks() {
            blocks.release();
        }
    }

    /// Gives back all that is cached, but records, and flushes what waits. Returns how many pages others freed meanwhile
    /// that were flushed too: they may be cached now. The caller has the turn.
    pub(super) fn release_caches(&self) -> usize {
        let (areas, pools) = (&self.areas, &self.areas.pools);
        let mut freed_meanwhile = 0;
        for cache in Cached::ALL {
            match cache {
                Lazy => drop(self.purge_waiting()),
                Current => pools.retire_current_blocks(),
                PageFrames => areas.release_frames(),
                Spares => pools.release_spares(),
                EmptyBlocks => pools.close_empty_blocks(),
                Runs => areas.close_cached_runs(),
                // Closed blocks were counted when their pages were flushed.
                ClosedBlocks => freed_meanwhile = self.purge_waiting(),
                Tables => self.blocks().empty_reserves(),
                Directories => drop(self.release_directories()),
                // They wait for a grace period: `close_magazines` and `release_records`, without the turn in between.
                Magazines | Records => {}
            }
        }
        freed_meanwhile
    }
}
