//! What was unmapped and waits for a flush: a list for each CPU, and counters.
//!
//! A block with dirty pages is in one list at most, pushed by whoever made the first of its pages
//! dirty; a run of freed blocks is there by its first.

use crate::{
    MAX_CPUS, Vmalloc,
    blocks::block::{Block, Role},
    blocks::pages::Pages,
    lock::Guard,
    pending::deferred::Deferred,
    pending::list::{List, NONE},
    platform::{BLOCK_PAGES, CpuPin, Platform},
    types::policy::PurgePolicy,
};
use core::{
    iter, mem,
    ops::Range,
    sync::atomic::{AtomicI64, AtomicU32, Ordering, compiler_fence},
};

/// Pages that a CPU counts for itself before it adds them to the sum.
const SHARE: i64 = 256;
/// In a CPU's count: it is added to the sum at the next free, however small it is.
const LOOK: i64 = 1 << 40;
/// Pages for each doubling of the number of CPUs: 32 MiB, as Linux.
const LAZY_PAGES: usize = (32 << 20) / crate::PAGE_SIZE;

/// What one CPU unmapped.
#[repr(align(64))]
pub(crate) struct Lazy {
    pub list: List,
    /// What interrupt handlers freed on it.
    pub deferred: Deferred,
    /// Pages not yet in the sum, and perhaps [`LOOK`]. Only its CPU changes it, and its interrupt handlers do.
    share: AtomicI64,
}

impl Lazy {
    pub const fn new() -> Self {
        let list = List::from_first(AtomicU32::new(NONE));
        Self { list, deferred: Deferred::new(), share: AtomicI64::new(0) }
    }

    /// The next free on this CPU sees whether too much waits. For interrupt handlers. A free that is interrupted just
    /// when it counts takes that back; then the one sees it that makes the share full.
    pub fn look_next(&self) {
        self.share.fetch_or(LOOK, Ordering::Relaxed);
    }

    /// Pages not yet in the sum.
    fn shared(&self) -> i64 {
        self.share.load(Ordering::Relaxed) & !LOOK
    }
}

impl<P: Platform> Vmalloc<P> {
    /// `count` pages of an area that owned its frames were unmapped: they wait for a flush.
    #[inline(always)]
    pub(crate) fn retire_pages(&self, pin: P::Pin, block: &Block, first: usize, count: usize) {
        let mut pages = block.pages.lock(&pin);
        pages.keeps = true;
        self.retire_locked(&pin, pages, block.number(), first, count);
        self.count_retired(pin, count);
    }

    /// The same of any area, by who has locked the block, and counts them later.
    #[inline(always)]
    pub(crate) fn retire_locked(
        &self,
        pin: &P::Pin,
        mut pages: Guard<'_, Pages, P::Pin>,
        number: usize,
        first: usize,
        count: usize,
    ) {
        pages.retire(first, count);
        let listed = mem::replace(&mut pages.lazy, true);
        drop(pages);
        if !listed {
            self.push_lazy(pin, number);
        }
    }

    /// Counts pages that were retired, and sees to it that they do not become too many.
    #[inline(always)]
    pub(crate) fn count_retired(&self, pin: P::Pin, count: usize) {
        if self.count_lazy(&pin, count) {
            drop(pin);
            self.relieve();
        }
    }

    /// Puts a block into this CPU's list. It is in none.
    pub(crate) fn push_lazy(&self, pin: &P::Pin, number: usize) {
        self.lazy[pin.cpu()].list.push(number as u32, &self.block(number).next_lazy);
    }

    /// The blocks of a list that was taken.
    pub(crate) fn lazy_blocks(&self, first: u32) -> impl Iterator<Item = (usize, &Block)> {
        let mut next = first;
        iter::from_fn(move || {
            let number = (next != NONE).then_some(next as usize)?;
            let block = self.block(number);
            // Read before the caller may push the block to another list.
            next = block.next_lazy.load(Ordering::Relaxed);
            Some((number, block))
        })
    }

    /// Counts pages that wait for a flush; whether they are too many now.
    #[inline(always)]
    pub(crate) fn count_lazy(&self, pin: &P::Pin, pages: usize) -> bool {
        let share = &self.lazy[pin.cpu() % MAX_CPUS].share;
        let now = share.load(Ordering::Relaxed) + pages as i64;
        if now < SHARE {
            share.store(now, Ordering::Relaxed);
            return false;
        }
        share.store(0, Ordering::Relaxed);
        // Before the sum is looked at: an interrupt handler that notes more from here on has the next free look.
        compiler_fence(Ordering::SeqCst);
        self.lazy_sum.fetch_add(now & !LOOK, Ordering::Relaxed);
        self.too_much_waits()
    }

    /// Whether more pages wait for a flush than are to.
    pub(crate) fn too_much_waits(&self) -> bool {
        self.waiting() > signed(self.lazy_max())
    }

    /// Pages that are in the sum, and those that interrupt handlers noted.
    fn waiting(&self) -> i64 {
        self.lazy_sum.load(Ordering::Relaxed) + signed(self.deferred_pages.load(Ordering::Relaxed))
    }

    /// Pages that wait for a flush are fewer by so many.
    pub(crate) fn uncount_lazy(&self, pages: usize) {
        self.lazy_sum.fetch_sub(pages as i64, Ordering::Relaxed);
    }

    /// Pages that wait for a flush: what [`Stats::lazy`](crate::Stats::lazy) is, without a walk, but for blocks
    /// in which nothing was allocated any more and whose tables wait. While other
    /// CPUs free or purge it may be a little off, even negative.
    pub fn lazy_pages(&self) -> i64 {
        let shares: i64 = self.lazy.iter().map(Lazy::shared).sum();
        self.waiting() + shares
    }

    /// Pages that a CPU counts for itself.
    #[cfg(test)]
    pub(crate) fn shared(&self, cpu: usize) -> i64 {
        self.lazy[cpu].shared()
    }

    /// Tells `sink` what was freed and waits for a flush: ranges of addresses, the lowest first. Areas that interrupt
    /// handlers freed come when a purge has looked at them.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn lazy_ranges(&self, mut sink: impl FnMut(Range<usize>)) {
        self.assert_not_in_interrupt("lazy_ranges");
        for number in self.known_blocks() {
            let mut from = 0;
            // Ends with the block: each run begins behind the one before.
            while let Some((first, end)) = self.lazy_run(number, from) {
                sink(self.address(number, first)..self.address(number, end));
                from = end;
            }
        }
    }

    /// The first run of pages, at or above page `from` of a block, that waits.
    fn lazy_run(&self, number: usize, from: usize) -> Option<(usize, usize)> {
        let pin = self.platform.pin();
        let block = self.table.get(number, &pin)?;
        let pages = block.pages.lock(&pin);
        match block.role() {
            role if role.has_pages() => pages.stale_runs(from).next(),
            Role::Kept { flushed: false, .. } if from == 0 => Some((0, BLOCK_PAGES)),
            Role::Freed { blocks, scattered: false } if from == 0 => Some((0, blocks as usize * BLOCK_PAGES)),
            _ => None,
        }
    }

    /// Pages that may wait for a flush before a purge is due.
    pub fn lazy_max(&self) -> usize {
        match self.tunables.lazy_max_pages.load(Ordering::Relaxed) {
            0 => {
                let cpus = self.platform.shootdown().online_count();
                (1 + cpus.ilog2() as usize) * LAZY_PAGES
            }
            pages => pages,
        }
    }

    /// Too many pages wait for a flush.
    #[cold]
    pub(crate) fn relieve(&self) {
        // It may be this thread. Who has the turn looks when it is given.
        if self.is_turn_freeing() && self.turn.leave_it() {
            return;
        }
        if !self.platform.wake_purger() {
            // Once more if the turn was given just now.
            if !self.try_purge() && !self.turn.leave_it() {
                self.try_purge();
            }
            return;
        }
        if self.policy.purge != PurgePolicy::Threshold {
            return;
        }
        // Purging outranks allocating: who frees purges too, or waits for the one who does.
        let times = self.tunables.purge_priority.load(Ordering::Relaxed);
        let far_too_many = signed(times.saturating_mul(self.lazy_max()));
        let ticket = self.purge_ticket();
        // Not for longer than one purge that began after the free: others may go on freeing.
        while self.waiting() > far_too_many && !self.has_purged_since(ticket) {
            if self.try_purge() || !self.platform.pause() {
                break;
            }
        }
    }
}

/// A number of pages as the sum is compared with: so many that it cannot be reached are the most that can be.
fn signed(pages: usize) -> i64 {
    i64::try_from(pages).unwrap_or(i64::MAX)
}

/// The sum of what the CPUs counted. Shares may be taken off before they are added: it may be
/// negative for a moment.
pub(crate) type LazySum = AtomicI64;

const _: () = assert!(LAZY_PAGES.is_multiple_of(BLOCK_PAGES));
