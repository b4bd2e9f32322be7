//! Linux's vmalloc subsystem for x86-64 kernels: it allocates memory that is contiguous in kernel virtual address space
//! and made of single page frames.
//!
//! A kernel implements [`Platform`] and makes a [`Vmalloc`] over a range of its address space:
//!
//! ```
//! use vmalloc::{Platform, Request, Vmalloc};
//!
//! fn use_it<P: Platform>(machine: P) -> Result<(), Box<dyn core::error::Error>> {
//!     // SAFETY: nothing else maps anything in this range.
//!     let vmalloc = unsafe { Vmalloc::new(machine, 0xffff_c900_0000_0000..0xffff_e900_0000_0000)? };
//!     let area = vmalloc.vmalloc(10_000)?; // three pages and a guard page
//!     let zeroed = vmalloc.allocate(Request::new(1 << 20).zeroed())?;
//!     // SAFETY: nobody uses the areas any more.
//!     unsafe {
//!         vmalloc.vfree(area)?;
//!         vmalloc.vfree(zeroed)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Those who would rather own than call have [`Area`], [`Stack`], `Mmio`, `VBox` and `VVec`, each of which gives back what
//! it has when it is dropped, and `Heap`, a global allocator.
//!
//! One idea carries the library. A **vmap block** is 2 MiB of address space, one leaf page table and one descriptor of
//! 192 bytes. The descriptor's bitmaps and the page table entries hold what Linux keeps in trees of objects, so a free
//! allocates nothing. Freed pages keep their frames; one flush makes all of them free again, in batches called purges.
//!
//! # Before the first call
//!
//! What a kernel sees to before it makes an instance. Most of it fails far from its cause if it is forgotten.
//!
//! 1. **No execute.** Bit 11 of the EFER register (NXE) is set on each CPU. Every page but code has the bit 63 in its entry,
//!    which is reserved otherwise: the first access is a page fault, by the entry of a page that is there.
//! 2. **Four levels.** CR4.LA57 is clear: page tables have four levels. The direct map, and the root that
//!    [`Platform::root`] returns, are those that all CPUs use.
//! 3. **Stack.** [`Vmalloc::new`] returns the instance by value. Builds without optimisation copy it several times: use a
//!    large stack, or make it early, where the stack is the boot loader's, in an optimised build.
//! 4. **Frames and the limits.** [`Platform::total_frames`] is what the machine has for its users. Up to a 16th of it waits
//!    for a flush, and twice that for a moment; an eighth each is cached in empty blocks and in freed runs, at most. Who
//!    runs short elsewhere calls [`Vmalloc::shrink`], or sets [`Tunables::lazy_max_pages`].
//! 5. **CPUs.** Each CPU calls [`Shootdown::set_online`] before it first uses an instance, or touches what another allocated,
//!    the first CPU too. A CPU that is not online is not asked to flush.
//! 6. **Interrupts.** [`Platform::in_interrupt`] says what is true in handlers, and the interrupt that
//!    [`Flusher::interrupt`] sends is answered by [`Shootdown::answer`].
//! 7. **Page faults.** The handler of page faults maps nothing in an instance's range: a fault there is a mistake of who
//!    touched the address. It asks [`contains`](Vmalloc::contains) first, and has [`find_area`](Vmalloc::find_area) tell
//!    whose the address is; see [below](#in-a-page-fault-handler). What is mapped there all the same is found, if late: see
//!    [`find_foreign`](Vmalloc::find_foreign).
//! 8. **Physical addresses.** [`frame_at`](Vmalloc::frame_at) tells the frame at an address, for a device (DMA), say. The
//!    mappers of other crates do not: entries of the library's that are not present are not zero, and `translate` of the
//!    crate `x86_64`, which takes everything but zero for mapped, returns a frame for freed pages and guard pages. Where
//!    somebody writes to frames that `frame_at` did not tell, the policy is [`Zeroing::Always`], the default.
//!
//! # In a page fault handler
//!
//! [`contains`](Vmalloc::contains) and [`find_area`](Vmalloc::find_area) take no lock, so a handler may call them whatever it
//! interrupted. A handler that maps pages on demand does so for what is not the instance's only:
//!
//! ```
//! use vmalloc::{Platform, Vmalloc};
//!
//! /// Returns what to print before the kernel stops, if the fault at `address` is in the instance's range. `None` means
//! /// that it is none of the instance's business: a page may be mapped there on demand.
//! fn explain_fault<P: Platform>(vmalloc: &Vmalloc<P>, address: usize) -> Option<String> {
//!     if !vmalloc.contains(address) {
//!         return None;
//!     }
//!     Some(match vmalloc.find_area(address) {
//!         Some(area) if address >= area.mapped_end() => format!("{address:#x}: behind the end of {area}"),
//!         Some(area) if address < area.start => format!("{address:#x}: below the start of {area}"),
//!         Some(area) => format!("{address:#x}: not allowed, or not populated, in {area}"),
//!         None => format!("{address:#x}: nothing is allocated there; it may have been freed"),
//!     })
//! }
//! ```
//!
//! # Where each call may be made
//!
//! | calls | threads that may wait | pinned, or locks held | interrupt handlers |
//! |---|---|---|---|
//! | `vfree` | yes | yes | the area is noted, and the next purge frees it |
//! | `find_area`, `frame_at`, `area_frames`, `contains`, `vread`, `lazy_pages`, `lazy_max` | yes | yes | yes |
//! | `vmalloc`, `vzalloc`, `allocate`, `vmap`, `ioremap`, `vm_map_ram`, `vrealloc`, `allocate_congruent`, `populate` | yes | yes; they do not wait, and may be refused instead | refused |
//! | `vunmap`, `vm_unmap_ram`, `free_congruent`, `depopulate`, `set_protection` | yes | yes | refused |
//! | `purge`, `vm_unmap_aliases` | yes | yes, and they do not wait for another thread's purge | a panic |
//! | `new`, `with_policy` | yes | yes | a panic |
//! | `trim`, dropping an instance | yes | yes, and they may leave something | a panic |
//! | `find_foreign`, `areas`, `next_area`, `lazy_ranges`, `stats`, `tally`, `register_notifier`, `unregister_notifier` | yes | yes | a panic |
//!
//! An interrupt handler may have interrupted whoever holds a lock of the library. The machine tells where a call is made
//! by [`Platform::in_interrupt`] and [`Platform::pause`]. A call that is refused there returns its error `InInterrupt`
//! and has changed nothing. While a call waits for other CPUs, it leaves interrupts on or off as they
//! were.
//!
//! # Rooms
//!
//! The modules are rooms in a fixed order: each uses those below it and none above it. The file `ROOMS` has the order.
//! [`Vmalloc`] is built in the same way: its layers own each other, so that none can call upward.
//!
//! | room | has |
//! |---|---|
//! | `check` | whether a machine keeps its promises (feature `check`) |
//! | `owned` | types that own: areas, stacks, collections, registers, a heap |
//! | `calls` | the public calls, one file for each family |
//! | `inspect` | the areas at addresses, lists of areas, counters, and reading what may vanish |
//! | `vmalloc` | the instance: the rooms put together |
//! | `reclaim` | purges; what an allocation does that ran out; giving back caches, directories and records |
//! | `areas` | small areas, runs of blocks, cached runs, mappings of `vm_map_ram`, congruent areas |
//! | `pools` | each CPU's supply of pages: bump run, current block, bins |
//! | `pending` | what was unmapped and waits for a flush |
//! | `blocks` | descriptors, the states of pages, leaf tables, splitting of 2 MiB pages |
//! | `arena` | which blocks are free |
//! | `page_table` | entries, and the tables that hold them |
//! | `base` | the machine, the span, the tunables and the policy, for every room to ask |
//! | `percpu` | each CPU's record, in which each room has its part |
//! | `framed` | values in frames of their own |
//! | `lock` | spinlocks that can only be taken pinned |
//! | `span` | the arithmetic of addresses, pages and blocks |
//! | [`adapters`] | a machine that is ready, for one CPU or several |
//! | `platform` | what the library asks of its machine |
//! | `bitmap` | runs of set bits in the 512 bits of a block |
//! | `types` | the words of the public interface |
//! | `tlb` | which CPUs must flush, by epochs and mailboxes |
//! | `atomic` | the atomics, which loom replaces |
//!
//! Locks are taken in this order: the arena's; a pool's, or that of a CPU's cached runs; a block's, or a CPU's reserve: no
//! other lock is taken under either. The notifiers' lock is taken with no other held, and no other is taken under it.
//! None is held while memory is taken from the platform or given to it, or while CPUs are flushed. Most allocations take
//! no lock, and most frees take the block's.
#![no_std]

// It has x86-64's instructions, but for tests.
#[cfg(any(test, target_arch = "x86_64"))]
pub mod adapters;
mod areas;
mod arena;
mod atomic;
mod base;
mod bitmap;
mod blocks;
mod calls;
#[cfg(feature = "check")]
pub mod check;
mod framed;
mod inspect;
mod lock;
mod magazines;
mod owned;
mod page_table;
mod pending;
mod percpu;
mod platform;
mod pools;
mod reclaim;
mod span;
#[cfg(test)]
mod tests;
mod tlb;
mod types;
mod vmalloc;

#[cfg(feature = "mmio")]
pub use owned::Mmio;
pub use owned::{Area, Stack};
#[cfg(all(feature = "heap", not(loom)))]
pub use owned::{Heap, Usage};
#[cfg(feature = "collections")]
pub use owned::{VBox, VVec};
pub use platform::{CpuPin, LockClass, Platform, SingleCpu, Table};
pub use reclaim::{MAX_NOTIFIERS, PurgeNotifier};
pub use tlb::{
    Counters, CpuSet, Flusher, Forbid, ListError, MAX_CPUS, Reach, Scope, Shootdown, Stamp, TlbState,
};
pub(crate) use types::Owner;
pub use types::{
    area::{AreaInfo, Cache, Kind, Protection},
    congruent::{CongruentArea, CongruentSet, MAX_CONGRUENT},
    error::{AllocError, CongruentError, FreeError, NewError, PopulateError, ProtectError, ReallocError},
    event::Event,
    foreign::ForeignEntry,
    frame::{BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, Frame, PAGE_SHIFT, PAGE_SIZE},
    policy::{GatherPolicy, GuardPolicy, OverflowPolicy, Policy, PurgePolicy, Reuse, SearchPolicy, Zeroing},
    request::Request,
    stats::{Stats, Tally},
    tunables::Tunables,
};
pub use vmalloc::{MAX_RANGE, Vmalloc};
#[cfg(feature = "mmio")]
pub use volatile;
