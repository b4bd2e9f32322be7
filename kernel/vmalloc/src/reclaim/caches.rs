//! Caches: all that an instance caches for speed, in one list, and giving it back.
//!
//! [`trim`](crate::Vmalloc::trim) and an allocation that ran out of room (`shortage`) give back what
//! `release_caches` lists, magazines, and records, so that nothing cached on any CPU stands in anybody's way.
//! A cache that is added gets a line there, and a name in `tests/reclaim/caches.rs`, where each is filled on
//! another CPU and obtained by an allocation.
//!
//! `trim` and `release` take the turn (`turn`); an allocation that runs short already has it. Each step takes
//! the locks of what it gives back, one at a time.

use super::Reclaim;
use crate::{
    MAX_CPUS, Platform,
    atomic::{Ordering, fence},
    base::Base,
    magazines::Closed,
    types::{Caller, tunables::Mode},
};
use core::{ops::Range, panic::Location};

/// The CPUs whose caches are emptied.
const ALL: Range<usize> = 0..MAX_CPUS;

impl<P: Platform> Reclaim<P> {
    /// Flushes what waits, and gives back what is cached; see [`Vmalloc::trim`](crate::Vmalloc::trim).
    pub fn trim(&self, caller: Caller) {
        let _closed = self.close_magazines();
        self.in_turn(caller, || self.release_caches(caller));
        self.release_records(caller);
    }

    /// Retires what is parked on all CPUs. That may wait for a grace period, so it is done before the turn is taken. While the result lives nothing is parked anew.
    pub fn close_magazines(&self) -> Closed<'_> {
        self.close_magazines_of(ALL)
    }

    /// Does as [`close_magazines`](Self::close_magazines), but retires only what is parked on these CPUs.
    fn close_magazines_of(&self, cpus: Range<usize>) -> Closed<'_> {
        let magazines = &self.areas.magazines;
        let closed = magazines.close();
        loop {
            let relinked = magazines.relinked();
            if !self.areas.release_magazines(&closed, cpus.clone()) {
                return closed;
            }
            // Others may have some in their hands: until a grace period is over, or to link them again where they cannot wait
            // for one.
            while magazines.are_being_released() && self.platform().pause() {}
            if magazines.relinked() == relinked {
                return closed;
            }
        }
    }

    /// Turns a mode on, in which nothing is parked, and retires what is parked on all CPUs; or turns it off, and lets things
    /// be parked again if no other mode is on.
    pub fn bar_magazines(&self, mode: Mode, bar: bool) {
        let modes = &self.base().tunables.modes;
        if bar {
            // Counted before the mode is on: whoever opens them again takes no more than that from the count.
            let closed = self.areas.magazines.close();
            if modes.set(mode, true) {
                return;
            }
            closed.keep();
            // Closed once more: others may open them again before all are released.
            drop(self.close_magazines());
        } else if modes.set(mode, false) {
            self.areas.magazines.reopen();
        } else {
            return;
        }
        // What was parked waits for a flush now.
        self.hint();
    }

    /// Has freed pages wait until `pages` others were freed; see [`Vmalloc::set_quarantine`](crate::Vmalloc::set_quarantine).
    pub fn set_quarantine(&self, pages: usize) {
        self.quarantine.set_pages(pages);
        // Others may set it, too. Who switches the mode last has seen the last number: each switch is a read-modify-write, which
        // acquires what those before it released. Ends: one more turn means that another caller has set it meanwhile.
        loop {
            let on = self.quarantine.pages() > 0;
            self.bar_magazines(Mode::Quarantine, on);
            if on == (self.quarantine.pages() > 0) {
                break;
            }
        }
        if pages == 0 {
            // As at the end of a purge.
            fence(Ordering::SeqCst);
            self.pending().hold(0);
            self.hint();
        }
    }

    /// Returns how many pages are freed before a page may be used again.
    pub fn quarantine(&self) -> usize {
        self.quarantine.pages()
    }

    /// Gives back at least `frames` frames if as many are cached, and not many more: see
    /// [`Vmalloc::shrink`](crate::Vmalloc::shrink). Returns how many.
    pub fn shrink(&self, frames: usize, caller: Caller) -> usize {
        let mut given = self.areas.release_frames(frames);
        // Runs that are too long to be cached, and tables, go back uncounted.
        let gives = |step: &dyn Fn()| {
            let before = self.platform().free_frames();
            step();
            self.platform().free_frames().saturating_sub(before)
        };
        if given < frames {
            given += gives(&|| {
                let _closed = self.close_magazines();
                self.in_turn(caller, || self.purge_waiting(caller));
            });
            given += self.areas.release_frames(frames.saturating_sub(given));
        }
        if given < frames {
            given += gives(&|| {
                self.in_turn(caller, || self.release_caches(caller));
            });
        }
        given
    }

    /// Empties the caches of a CPU: see [`Vmalloc::release_cpu`](crate::Vmalloc::release_cpu).
    pub fn release_cpu(&self, cpu: usize) {
        let cpus = cpu..cpu + 1;
        drop(self.close_magazines_of(cpus.clone()));
        self.areas.pools.retire_current_blocks(cpus.clone());
        self.areas.pools.close_empty_blocks(cpus.clone());
        self.areas.pools.release_spares(cpus.clone());
        self.areas.close_cached_runs(cpus.clone());
        self.blocks().empty_reserves(cpus);
        self.hint();
    }

    /// Gives everything back, and what there is for each block if nothing is allocated any more.
    ///
    /// # Safety
    /// The instance is not used again.
    pub unsafe fn release(&mut self) {
        let caller = Location::caller();
        self.in_turn(caller, || self.release_caches(caller));
        let blocks = &mut self.areas.pools.pending.blocks;
        if blocks.arena.stats(&blocks.base.platform.pin()).free == blocks.base.span.blocks() {
            // SAFETY: the caller's promise.
            unsafe { blocks.release() };
        }
        let Base { records, remembered, platform, .. } = &mut blocks.base;
        remembered.release(platform);
        // SAFETY: as above.
        unsafe { records.release(platform) };
    }

    /// Closes the blocks in which nothing is allocated, and flushes what waits. The caller has the turn.
    pub(super) fn close_blocks(&self, caller: Caller) {
        self.areas.pools.retire_current_blocks(ALL);
        self.areas.pools.close_empty_blocks(ALL);
        self.purge_waiting(caller);
    }

    /// Gives back all that is cached, but magazines and records, and flushes what waits. Returns how many pages others freed meanwhile
    /// that were flushed too: they may be cached now. The caller has the turn.
    pub(super) fn release_caches(&self, caller: Caller) -> usize {
        let (areas, pools) = (&self.areas, &self.areas.pools);
        // What a step gives back may be cached by a later one.
        self.purge_waiting(caller);
        pools.retire_current_blocks(ALL);
        areas.release_frames(usize::MAX);
        pools.release_spares(ALL);
        pools.close_empty_blocks(ALL);
        areas.close_cached_runs(ALL);
        // Closed blocks: their tables, and what else was unmapped since. They were counted when their pages were flushed.
        let freed_meanwhile = self.purge_waiting(caller);
        self.blocks().empty_reserves(ALL);
        self.release_directories(caller);
        freed_meanwhile
    }
}
