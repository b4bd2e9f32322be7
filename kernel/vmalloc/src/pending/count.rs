//! How much waits for a flush: a share for each CPU, a sum of what the shares grew to, and the limits.

use super::Pending;
use crate::{BLOCK_PAGES, CpuPin, PAGE_SIZE, Platform};
use core::sync::atomic::{Ordering, compiler_fence};

/// Pages for each doubling of the number of CPUs: 32 MiB, as Linux.
const LAZY_PAGES: usize = (32 << 20) / PAGE_SIZE;
const _: () = assert!(LAZY_PAGES.is_multiple_of(BLOCK_PAGES));
/// Pages that may wait are not more than this part of the machine's frames.
///
/// Who frees purges at twice the limit at the latest (`purge_priority`). So what waits has an eighth of the memory at
/// most, as each of the two caches has ([`cache_limit`](Pending::cache_limit)), and little more than that is parked
/// (`magazines`): about half of the memory is left to others whatever an instance does, and more of a small one. The limit is that of Linux on machines with 512 MiB or more for each step of
/// 32 MiB.
const LAZY_PART: usize = 16;

/// Whether more pages wait for a flush than are to. Who retired pages is told, and hands it to
/// `Reclaim::relieve` when it holds no lock and no pin.
#[must_use = "somebody has to relieve it"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    Low,
    High,
}

impl Pressure {
    /// The higher one.
    pub fn or(self, other: Self) -> Self {
        if self == Self::High { self } else { other }
    }

    /// Says that whoever called purges next, or looks how much waits.
    pub fn leave_to_caller(self) {}
}

impl<P: Platform> Pending<P> {
    /// Counts pages that wait for a flush.
    #[inline(always)]
    pub fn count(&self, pin: &P::Pin, pages: usize) -> Pressure {
        let Some(all) = self.cpus.of(pin.cpu()).share.add(pages) else { return Pressure::Low };
        // Before the sum is looked at: an interrupt handler that notes more from here on has the next free look.
        compiler_fence(Ordering::SeqCst);
        self.sum.fetch_add(all, Ordering::Relaxed);
        self.pressure()
    }

    /// Pages that wait for a flush are fewer by so many.
    pub fn uncount(&self, pages: usize) {
        self.sum.fetch_sub(pages as i64, Ordering::Relaxed);
    }

    /// Whether more pages wait for a flush than are to.
    pub fn pressure(&self) -> Pressure {
        if self.exceeds(self.lazy_max()) { Pressure::High } else { Pressure::Low }
    }

    /// Whether more than `pages` pages wait for a flush, of those in the sum and those that interrupt handlers noted.
    pub fn exceeds(&self, pages: usize) -> bool {
        // So many that they cannot be reached are the most that can be.
        let held = self.held.load(Ordering::Relaxed);
        self.counted() > i64::try_from(pages).unwrap_or(i64::MAX).saturating_add(held)
    }

    /// Has pages that wait not count as too many: they wait for others to be freed.
    pub fn hold(&self, pages: i64) {
        self.held.store(pages.max(0), Ordering::Relaxed);
    }

    fn counted(&self) -> i64 {
        self.sum.load(Ordering::Relaxed) + self.deferred_pages() as i64
    }

    /// Pages of areas that interrupt handlers freed, until a purge comes to them.
    pub fn deferred_pages(&self) -> usize {
        self.deferred_pages.load(Ordering::Relaxed)
    }

    /// Pages that wait for a flush, but for blocks in which nothing was allocated any more and whose tables wait. While
    /// other CPUs free or purge it may be a little off, even negative.
    pub fn lazy_pages(&self) -> i64 {
        self.counted() + self.cpus.iter().map(|cpu| cpu.share.pages()).sum::<i64>()
    }

    /// Pages that a CPU counts for itself.
    #[cfg(all(test, not(loom)))]
    pub fn share(&self, cpu: usize) -> i64 {
        self.cpus.of(cpu).share.pages()
    }

    /// Pages that may wait for a flush before a purge is due.
    pub fn lazy_max(&self) -> usize {
        let platform = self.blocks.platform();
        match self.blocks.base.tunables.lazy_max_pages.load(Ordering::Relaxed) {
            0 => {
                let by_cpus = (1 + platform.shootdown().online_count().ilog2() as usize) * LAZY_PAGES;
                by_cpus.min(platform.total_frames() / LAZY_PART)
            }
            pages => pages,
        }
    }

    /// Blocks that all CPUs may cache: twice what is free when as much as may waits for a flush is purged, because
    /// blocks are seldom full, and CPUs not all as fast; but not more than an eighth of the memory.
    pub fn cache_limit(&self) -> usize {
        4 * self.lazy_max().min(self.blocks.platform().total_frames() / 32) / BLOCK_PAGES
    }

    /// Whether a CPU may cache so many blocks of a kind, and all CPUs together so many: one that frees faster than
    /// others may cache what they do not, and each may cache its part of the limit in any case.
    pub fn may_cache(&self, here: usize, all: usize) -> bool {
        let limit = self.cache_limit();
        all <= limit || here <= limit / self.blocks.platform().shootdown().online_count()
    }
}
