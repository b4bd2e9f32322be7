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
mod base;
mod bitmap;
mod blocks;
mod calls;
mod inspect;
mod lock;
mod page_table;
mod pending;
mod platform;
mod pools;
mod reclaim;
mod span;
#[cfg(test)]
mod tests;
mod tlb;
mod types;
mod vmalloc;

#[cfg(feature = "collections")]
pub use calls::collections::{VBox, VVec};
pub use platform::{CpuPin, LockClass, Platform, SingleCpu, Table};
pub use reclaim::{MAX_NOTIFIERS, PurgeNotifier};
pub use tlb::{Counters, CpuSet, Flusher, Forbid, ListError, MAX_CPUS, Reach, Scope, Shootdown, Stamp};
pub use types::{
    area::{AreaInfo, Cache, Kind, Protection},
    congruent::{CongruentArea, CongruentSet, MAX_CONGRUENT},
    error::{AllocError, CongruentError, FreeError, NewError, PopulateError, ProtectError, ReallocError},
    event::Event,
    frame::{BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, Frame, PAGE_SHIFT, PAGE_SIZE},
    policy::{GatherPolicy, GuardPolicy, OverflowPolicy, Policy, PurgePolicy, SearchPolicy},
    request::Request,
    stats::{Stats, Tally},
    tunables::Tunables,
};
pub use vmalloc::{MAX_RANGE, Vmalloc};
