//! Linux's vmalloc subsystem for x86-64 kernels: memory that is contiguous in kernel virtual
//! address space, made of single frames.
//!
//! One idea carries it: a **vmap block** is 2 MiB of address space, one leaf page table and one
//! descriptor of 192 bytes. What Linux keeps in trees of objects is kept here in the descriptor's
//! bitmaps and in the page table entries themselves. Nothing is allocated when memory is freed.
//!
//! The library knows its machine only through [`Platform`]; it runs in a kernel and, on a
//! simulated machine of several CPUs, in host tests.
//!
//! | module | does |
//! |---|---|
//! | `area`, `map` | `vmalloc` and its relatives, `vfree`, `vunmap`; `vmap`, `ioremap` |
//! | `request` | what an area is asked to be |
//! | `room`, `stock` | what is done when there is none: all that is kept for speed is given back |
//! | `small`, `run` | areas inside a block, and areas of whole blocks |
//! | `kept` | such blocks, freed, kept for the next one |
//! | `ram` | `vm_map_ram` |
//! | `congruent`, `populate` | several areas at set distances, whose pages come and go |
//! | `realloc`, `resize` | shrinking and growing; growth moves entries, not bytes |
//! | `protect`, `split` | changing protections, and splitting 2 MiB pages for it |
//! | `read` | reading what may vanish |
//! | `allocator` | `VBox` and `VVec`, with the feature `collections` |
//! | `notify` | asking others to give back |
//! | `pool`, `bins`, `ahead`, `pages` | a CPU's supply of pages in blocks of small areas, and what each page is |
//! | `deferred` | frees in interrupt handlers |
//! | `lazy`, `list`, `purge` | what waits for a flush, and flushing it |
//! | `shootdown`, `mailbox`, `counters` | which CPUs must flush, by epochs, and making them |
//! | `blocks` | whole blocks and their leaf tables |
//! | `arena` | which blocks are free |
//! | `block`, `block_table` | descriptors, and finding them |
//! | `bitmap` | runs of pages in a block |
//! | `entry`, `slots`, `tables` | page table entries, many at a time, and the tables above the leaves |
//! | `flush`, `gather` | unmapped, flushed, free: in that order, by type |
//! | `records` | giving back the records of free blocks |
//! | `lock` | spinlocks that are taken pinned |
//! | `info`, `stats` | what is allocated, and counters |
//! | `policy` | what others did instead, to measure against |
//! | `trace` | what is done, told as it happens |
//!
//! From where each call may be made, and what becomes of it in an interrupt handler, which may have interrupted
//! whoever holds a lock of the library:
//!
//! | calls | threads that may wait | pinned, or locks held | interrupt handlers |
//! |---|---|---|---|
//! | `vfree` | yes | yes | noted, and done by the next purge |
//! | `find_area`, `frame_at`, `contains`, `vread`, `lazy_pages`, `lazy_max` | yes | yes | yes |
//! | `vmalloc`, `vzalloc`, `allocate`, `vmap`, `ioremap`, `vm_map_ram`, `vrealloc`, `allocate_congruent`, `populate` | yes | yes, and never wait for other threads | refused |
//! | `vunmap`, `vm_unmap_ram`, `free_congruent`, `depopulate`, `set_protection` | yes | yes | refused |
//! | `purge`, `vm_unmap_aliases` | yes | yes, and do not wait for another thread's purge | a panic |
//! | `new`, `with_policy` | yes | yes | a panic |
//! | `trim`, dropping an instance | yes | yes, and may leave something | a panic |
//! | `areas`, `next_area`, `lazy_ranges`, `stats`, `tally`, `register_notifier`, `unregister_notifier` | yes | yes | a panic |
//!
//! The machine tells by [`Platform::in_interrupt`] and [`Platform::pause`]. What is refused has the error `InInterrupt`
//! of its call and has changed nothing. Whoever waits for other CPUs to flush leaves their interrupts on.
//!
//! Locks, in their order: arena; a pool's, or a CPU's kept runs or tables in reserve; a block's. None is held while
//! memory is taken from or given to the platform, or while CPUs are flushed. Most allocations take none, most frees the
//! block's.
#![no_std]

mod areas;
mod arena;
mod atomic;
mod blocks;
mod calls;
mod inspect;
mod lock;
mod page_table;
mod pending;
mod platform;
mod pools;
mod reclaim;
#[cfg(test)]
mod tests;
mod tlb;
mod types;

use areas::cached::KeptRuns;
use blocks::{open::Reserve, table::BlockTable};
use core::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use page_table::directories;
use pending::lazy::{Lazy, LazySum};
use platform::PHYSICAL_BITS;
use pools::pool::{self, Pool};
use reclaim::{notify, purge::Turn};

pub use areas::congruent::{CongruentArea, CongruentSet, MAX_CONGRUENT};
#[cfg(feature = "collections")]
pub use calls::collections::{VBox, VVec};
pub use inspect::find::AreaInfo;
pub use inspect::stats::{Stats, Tally};
pub use page_table::entry::{Cache, Kind, Protection};
pub use platform::{
    BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, CpuPin, Frame, LockClass, PAGE_SHIFT, PAGE_SIZE, Platform,
    SingleCpu, Table,
};
pub use reclaim::notify::{MAX_NOTIFIERS, PurgeNotifier};
pub use tlb::counters::Counters;
pub use tlb::cpus::{CpuSet, ListError, MAX_CPUS};
pub use tlb::flusher::{Flusher, Scope};
pub use tlb::shootdown::{Forbid, Reach, Shootdown, Stamp};
pub use types::error::{
    AllocError, CongruentError, FreeError, NewError, PopulateError, ProtectError, ReallocError,
};
pub use types::policy::{GatherPolicy, GuardPolicy, OverflowPolicy, Policy, PurgePolicy, SearchPolicy};
pub use types::request::Request;
pub use types::trace::Event;

/// Bytes of the longest range an instance can have: 32 TiB.
pub const MAX_RANGE: usize = arena::MAX_BLOCKS * BLOCK_SIZE;

/// What may be tuned while an instance runs.
#[derive(Debug)]
pub struct Tunables {
    /// Up to this many pages are flushed one by one, more by flushing everything.
    pub single_page_flush_ceiling: AtomicUsize,
    /// Pages that may wait for a flush before a purge is due; 0: 32 MiB of them, and as many again for
    /// each doubling of the number of CPUs.
    pub lazy_max_pages: AtomicUsize,
    /// Times that many, above which purging outranks allocating: who frees then purges, or waits.
    pub purge_priority: AtomicUsize,
    /// Leaf tables, out of use and clean, that each CPU keeps; 16 at most.
    pub table_reserve: AtomicUsize,
    /// Whether [`Platform::trace`] is told what is done.
    pub trace: AtomicBool,
}

impl Tunables {
    const fn new() -> Self {
        // 33 is Linux's default; see arch/x86/mm/tlb.c for how it was measured.
        Self {
            single_page_flush_ceiling: AtomicUsize::new(33),
            lazy_max_pages: AtomicUsize::new(0),
            // As Linux since 2019.
            purge_priority: AtomicUsize::new(2),
            table_reserve: AtomicUsize::new(8),
            trace: AtomicBool::new(false),
        }
    }
}

/// A vmalloc allocator over a range of kernel virtual address space.
pub struct Vmalloc<P: Platform> {
    platform: P,
    range: Range<usize>,
    /// Pages in the range.
    pages: usize,
    arena: arena::Arena,
    table: BlockTable,
    pools: [Pool; pool::POOLS],
    lazy: [Lazy; MAX_CPUS],
    lazy_sum: LazySum,
    /// Pages of areas that interrupt handlers freed, until a purge comes to them.
    deferred_pages: AtomicUsize,
    turn: Turn,
    reserves: [Reserve; MAX_CPUS],
    kept_runs: [KeptRuns; MAX_CPUS],
    /// Blocks of runs that all CPUs keep, or will when they are flushed.
    run_blocks: AtomicUsize,
    /// Blocks in the pools' bins that are entirely free.
    empty_blocks: AtomicUsize,
    notifiers: notify::Notifiers,
    tunables: Tunables,
    policy: Policy,
    /// Behind the last physical address that the CPUs have.
    physical_end: u64,
    /// Allocations that found no room at first.
    overflows: AtomicU64,
    /// Attempts that they made again.
    retries: AtomicU64,
}

impl<P: Platform> Vmalloc<P> {
    /// An instance over `range`, whose ends are multiples of [`BLOCK_SIZE`], which is at most
    /// [`MAX_RANGE`] long and lies in one half of the address space.
    ///
    /// The top level page table entries of the range are filled now and never change again, so
    /// page tables that copy them later need no fault to see new mappings.
    ///
    /// # Errors
    /// See [`NewError`].
    ///
    /// # Panics
    /// In an interrupt handler.
    ///
    /// # Safety
    /// Until the instance is dropped, nobody else maps anything in the range.
    pub unsafe fn new(platform: P, range: Range<usize>) -> Result<Self, NewError> {
        // SAFETY: the caller's promise.
        unsafe { Self::with_policy(platform, range, Policy::default()) }
    }

    /// As [`new`](Self::new), for experiments with other policies.
    ///
    /// # Errors
    /// See [`NewError`].
    ///
    /// # Panics
    /// In an interrupt handler.
    ///
    /// # Safety
    /// As [`new`](Self::new).
    pub unsafe fn with_policy(platform: P, range: Range<usize>, policy: Policy) -> Result<Self, NewError> {
        assert!(!platform.in_interrupt(), "an instance is made in an interrupt handler");
        let aligned = range.start.is_multiple_of(BLOCK_SIZE) && range.end.is_multiple_of(BLOCK_SIZE);
        if !aligned || range.is_empty() || range.start == 0 || range.len() > MAX_RANGE {
            return Err(NewError::BadRange(range));
        }
        if !is_canonical(&range) {
            return Err(NewError::NotCanonical(range));
        }
        directories::fill_root(&platform, range.start, range.end).ok_or(NewError::OutOfFrames)?;
        Ok(Self::build(platform, range, policy))
    }

    /// Apart from the checks: LLVM's stack probe of a frame as large as this one's destroys R11, in which
    /// code before a prologue that was moved behind it may keep something.
    #[inline(never)]
    fn build(platform: P, range: Range<usize>, policy: Policy) -> Self {
        Self {
            arena: arena::Arena::new(range.len() / BLOCK_SIZE, policy.search),
            table: BlockTable::new(),
            pools: [const { Pool::new() }; pool::POOLS],
            lazy: [const { Lazy::new() }; MAX_CPUS],
            lazy_sum: LazySum::new(0),
            deferred_pages: AtomicUsize::new(0),
            turn: Turn::new(),
            reserves: [const { Reserve::new() }; MAX_CPUS],
            kept_runs: [const { KeptRuns::new() }; MAX_CPUS],
            run_blocks: AtomicUsize::new(0),
            empty_blocks: AtomicUsize::new(0),
            notifiers: notify::Notifiers::new(),
            tunables: Tunables::new(),
            policy,
            overflows: AtomicU64::new(0),
            physical_end: 1 << platform.physical_bits().min(PHYSICAL_BITS),
            retries: AtomicU64::new(0),
            platform,
            pages: range.len() / PAGE_SIZE,
            range,
        }
    }

    /// The range of addresses the instance allocates from.
    pub fn range(&self) -> &Range<usize> {
        &self.range
    }

    /// The machine under the instance.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// What may be tuned while the instance runs.
    pub fn tunables(&self) -> &Tunables {
        &self.tunables
    }

    /// Flushes what waits, and gives back what is kept for speed: frames of free pages, empty blocks,
    /// runs, leaf tables in reserve, directories and records of nothing. What other CPUs free meanwhile may stay, and
    /// records do where the caller may not wait for a [grace period](Platform::synchronize). Where another thread
    /// purges, and the caller may not wait for it, nothing happens.
    ///
    /// An allocation that finds no room does this itself: nobody needs to call it for that.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn trim(&self) {
        self.assert_not_in_interrupt("trim");
        self.in_turn(|| self.give_back());
        self.release_records();
    }

    fn blocks(&self) -> usize {
        self.pages / BLOCK_PAGES
    }

    fn flush_ceiling(&self) -> usize {
        self.tunables.single_page_flush_ceiling.load(Ordering::Relaxed)
    }
}

/// Whether CPUs with page tables of four levels can use all addresses of a range: bits 63 to 47 of all of them are
/// alike (Intel SDM 1, section 3.3.7.1).
fn is_canonical(range: &Range<usize>) -> bool {
    const HALF: u32 = 47;
    let (first, last) = (range.start >> HALF, (range.end - 1) >> HALF);
    first == last && (first == 0 || first == usize::MAX >> HALF)
}

impl<P: Platform> Drop for Vmalloc<P> {
    /// Gives the records back. Areas that are still allocated keep everything: they are leaked.
    fn drop(&mut self) {
        self.assert_not_in_interrupt("an instance's drop");
        self.in_turn(|| self.give_back());
        if self.arena.stats(&self.platform.pin()).free == self.blocks() {
            self.arena.release(&self.platform);
            self.table.release(&self.platform);
        }
    }
}
