//! Linux's vmalloc subsystem for x86-64 kernels: it allocates memory that is contiguous in kernel virtual
//! address space and made of individual page frames. A kernel gets areas of any size, stacks with guard
//! pages, a heap that grows and shrinks, and device registers mapped with the right cache attributes.
//!
//! # A complete example
//!
//! A kernel says where it maps physical memory, and how to take a frame and give one back. This is all that a
//! kernel on one CPU writes to get an instance:
//!
//! ```no_run,ignore-aarch64
//! use core::ops::Range;
//! use spin::Once;
//! use vmalloc::adapters::{Machine, Memory};
//! use vmalloc::{Frame, Vmalloc};
//! # mod frames {
//! #     pub fn allocate() -> Option<u64> { None }
//! #     pub fn free(_: u64) {}
//! # }
//!
//! type Kernel = Machine<(fn() -> Option<Frame>, fn(Frame) -> bool)>;
//!
//! static VMALLOC: Once<Vmalloc<Kernel>> = Once::new();
//!
//! /// Takes a frame from the kernel's allocator, which identifies frames by physical address.
//! fn take() -> Option<Frame> {
//!     frames::allocate().map(|address| Frame::new(address / 4096))
//! }
//!
//! /// Gives a frame back. An allocator that cannot free returns false here: the machine keeps
//! /// the frame for later.
//! fn give(frame: Frame) -> bool {
//!     frames::free(frame.address());
//!     true
//! }
//!
//! /// Makes the instance. The loader maps physical address 0 at `offset`, and `usable` lists the
//! /// addresses of RAM.
//! fn start(offset: u64, usable: impl Iterator<Item = Range<u64>>) -> &'static Vmalloc<Kernel> {
//!     let memory = Memory::new(offset, usable);
//!     let frames = (take as fn() -> _, give as fn(_) -> _);
//!     // SAFETY: one CPU runs, and everything else that the function requires holds, too.
//!     let machine = unsafe { Machine::one_cpu(memory, frames) }.expect("a CPU that is set up");
//!     let range = 0xffff_c900_0000_0000..0xffff_c980_0000_0000;
//!     // SAFETY: nothing else is mapped in this range, now or later.
//!     let vmalloc = unsafe { Vmalloc::new(machine, range) };
//!     VMALLOC.call_once(|| vmalloc.expect("frames for page tables"))
//! }
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let (offset, usable) = (0, core::iter::empty());
//! let vmalloc = start(offset, usable);
//! let area = vmalloc.vmalloc(10_000)?; // three pages, followed by a guard page
//! // SAFETY: the area is this long, nobody else uses it, and neither do we once it is freed.
//! unsafe {
//!     area.write_bytes(0xff, 10_000);
//!     vmalloc.vfree(area)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Frame allocators of the crate `x86_64` can take the place of the two functions, and a kernel on several
//! CPUs supplies two more functions: see [`adapters`]. A kernel that does not want interrupts off even
//! briefly implements [`Platform`] itself, and has [`check::platform`] test whether it keeps its promises.
//!
//! # A tour
//!
//! **Allocate.** [`vmalloc`](Vmalloc::vmalloc) and [`vzalloc`](Vmalloc::vzalloc) are the common calls; a [`Request`]
//! says what should differ. [`vfree`](Vmalloc::vfree) frees, and [`vrealloc`](Vmalloc::vrealloc) resizes by moving
//! page table entries, not bytes. A refused call says why in a typed error, and has changed nothing.
//!
//! ```
//! # use vmalloc::{PAGE_SIZE, Request, Vmalloc};
//! # #[cfg(not(feature = "host"))]
//! # fn main() {}
//! # #[cfg(feature = "host")]
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let machine = vmalloc::host::Machine::new(1, 2000);
//! # // SAFETY: nothing else is mapped there, and no pointer is followed.
//! # let vmalloc = &unsafe { Vmalloc::new(&machine, 0xffff_c900_0000_0000..0xffff_c900_4000_0000)? };
//! let table = vmalloc.allocate(Request::new(1 << 20).zeroed().align(16 * PAGE_SIZE))?;
//! assert_eq!(table.addr().get() % (16 * PAGE_SIZE), 0);
//! // SAFETY: nobody uses it.
//! let table = unsafe { vmalloc.vrealloc(table, 2 << 20)? };
//! // SAFETY: nor any more.
//! unsafe { vmalloc.vfree(table)? };
//! // SAFETY: nobody uses it.
//! let again = unsafe { vmalloc.vfree(table) };
//! assert!(again.unwrap_err().to_string().contains("nothing is allocated"));
//! # Ok(()) }
//! ```
//!
//! **Own.** [`Area`] and [`Stack`] free what they own when they are dropped, as [`VBox`] and [`VVec`]
//! do. They need no `unsafe`.
//!
//! ```
//! # use vmalloc::{Area, PAGE_SIZE, Protection, Request, Stack, Vmalloc};
//! # #[cfg(not(feature = "host"))]
//! # fn main() {}
//! # #[cfg(feature = "host")]
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let machine = vmalloc::host::Machine::new(1, 2000);
//! # // SAFETY: nothing grows, nor is anything used twice.
//! # let range = unsafe { machine.pointers(2) };
//! # // SAFETY: nothing else is mapped there.
//! # let vmalloc = &unsafe { Vmalloc::new(&machine, range)? };
//! let mut area = Area::new(vmalloc, Request::new(300_000))?; // zeros
//! area.as_mut_slice()[299_999] = 1;
//! area.protect(Protection::ReadOnly)?;
//! assert_eq!(area.as_slice().iter().sum::<u8>(), 1);
//! let stack = Stack::new(vmalloc, 16 * PAGE_SIZE)?; // with guard pages at both ends
//! let stack_pointer = stack.top();
//! assert_eq!(vmalloc.areas().count(), 2);
//! drop((area, stack));
//! assert_eq!(vmalloc.areas().count(), 0);
//! # Ok(()) }
//! ```
//!
//! **A heap.** [`Heap`] is a global allocator. It can be one before there is an instance, and refuses until then.
//!
//! ```no_run,standalone_crate,ignore-aarch64
//! # #[cfg(feature = "heap")]
//! # mod kernel {
//! # use spin::Once;
//! # use vmalloc::{Frame, Heap, Vmalloc, adapters::Machine};
//! # type Kernel = Machine<(fn() -> Option<Frame>, fn(Frame) -> bool)>;
//! # static VMALLOC: Once<Vmalloc<Kernel>> = Once::new();
//! #[global_allocator]
//! static HEAP: Heap<Kernel> = Heap::new(|| VMALLOC.get());
//! # }
//! # fn main() {}
//! ```
//!
//! **Map.** [`ioremap`](Vmalloc::ioremap) maps the registers of a device with the [`Cache`] type that they
//! need, and [`Mmio`] owns such a mapping. [`vmap`](Vmalloc::vmap) maps the caller's frames, and
//! [`vm_map_ram`](Vmalloc::vm_map_ram) does so for a short time.
//!
//! ```
//! # use vmalloc::{AllocError, Cache, PAGE_SIZE, Vmalloc};
//! # #[cfg(not(feature = "host"))]
//! # fn main() {}
//! # #[cfg(feature = "host")]
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let machine = vmalloc::host::Machine::new(1, 2000);
//! # // SAFETY: nothing else is mapped there, and no pointer is followed.
//! # let vmalloc = &unsafe { Vmalloc::new(&machine, 0xffff_c900_0000_0000..0xffff_c900_4000_0000)? };
//! let registers = vmalloc.ioremap(0xfee0_0000, PAGE_SIZE, Cache::Uncached)?;
//! let frame = vmalloc.frame_at(registers.addr().get()).expect("mapped");
//! assert_eq!(frame.address(), 0xfee0_0000);
//! // SAFETY: nobody uses them any more.
//! unsafe { vmalloc.vunmap(registers)? };
//! // RAM is cached elsewhere already.
//! let refused = vmalloc.ioremap(machine.ram().start, PAGE_SIZE, Cache::Uncached);
//! assert!(matches!(refused, Err(AllocError::CachedElsewhere { .. })));
//! # Ok(()) }
//! ```
//!
//! **Look.** [`find_area`](Vmalloc::find_area) finds the area that contains an address, in any context.
//! [`areas`](Vmalloc::areas) and [`stats`](Vmalloc::stats) list and count.
//!
//! **Find a bug.** [`whatis`](Vmalloc::whatis) says what is at an address, above all for [page fault
//! handlers](#in-a-page-fault-handler), and, after [`set_remembered`](Vmalloc::set_remembered), what was
//! there, who allocated it and who freed it. [`set_check_slack`](Vmalloc::set_check_slack) finds writes past
//! the requested bytes, and after [`set_quarantine`](Vmalloc::set_quarantine) pointers into freed memory
//! keep faulting for longer.
//!
//! # Before the first call
//!
//! A kernel takes care of these points before it makes an instance. Most of them, if forgotten, cause a
//! failure far from the mistake. [`adapters::Machine`] handles some of them: it refuses a CPU that is not set
//! up as the first three points say, and brings the first CPU online.
//!
//! 1. **No execute, write protection.** EFER.NXE (bit 11) and CR0.WP (bit 16) are set on each CPU. All pages but code
//!    have bit 63 in their entry, reserved without NXE: the first access would fault, though the page is present.
//! 2. **Four levels.** CR4.LA57 is clear: page tables have four levels. All CPUs use the same direct map, and
//!    the root that [`Platform::root`] returns.
//! 3. **Neither shadow stacks nor PCIDs.** Bit 0 of IA32_S_CET, MSR 0x6a2, is clear if CR4.CET is set: else read-only
//!    pages would be supervisor shadow stacks. CR4.PCIDE is clear, unless [`Flusher`] flushes all contexts.
//! 4. **Stack.** [`Vmalloc::new`] returns the instance by value; it is smaller than a page. A stack of 64 KiB
//!    is enough to make it, even in unoptimised builds.
//! 5. **Frames and limits.** [`Platform::total_frames`] is what the machine has for its users. At most a 16th of it waits for
//!    a flush (briefly twice that), an eighth each is cached in empty blocks and in freed runs, and an eighth plus a 32nd in
//!    freed areas to be reused. If memory is short elsewhere, call [`Vmalloc::shrink`] or set [`Tunables::lazy_max_pages`].
//! 6. **CPUs.** Each CPU, the first included, calls [`Shootdown::set_online`] before it first uses an
//!    instance or touches memory that another CPU allocated. A CPU that is not online is not asked to flush.
//! 7. **Interrupts.** [`Platform::in_interrupt`] tells the truth in handlers, and the handler of the
//!    interrupt that [`Flusher::interrupt`] sends calls [`Shootdown::answer`].
//! 8. **Page faults.** The page fault handler maps nothing in an instance's range: a fault there is a bug in
//!    the code that touched the address. The handler first asks [`contains`](Vmalloc::contains), and then
//!    [`whatis`](Vmalloc::whatis) what the address is; see [below](#in-a-page-fault-handler). A page that is
//!    mapped there all the same is found, if late: see [`find_foreign`](Vmalloc::find_foreign).
//! 9. **Physical addresses.** [`frame_at`](Vmalloc::frame_at) returns the frame at an address, say for a device (DMA).
//!    Mappers of other crates cannot: entries of the library that are not present are not zero, and `translate` of the
//!    crate `x86_64`, which takes all but zero for mapped, returns a frame for freed pages and guard pages. If anybody
//!    writes to frames not looked up by `frame_at`, the policy must be [`Zeroing::Always`], the default.
//!
//! # Trying it
//!
//! Code that uses an instance can be tested on the host, on a machine of one or several CPUs whose TLBs drop
//! nothing by themselves: [`host::Machine`], with the feature `host`. The examples of this page run on it.
//!
//! # In a page fault handler
//!
//! [`contains`](Vmalloc::contains) and [`whatis`](Vmalloc::whatis) take no lock, so a handler may call them
//! whatever it interrupted. A handler that maps pages on demand does so only outside the instance's range:
//!
//! ```
//! use vmalloc::{Platform, Vmalloc};
//!
//! /// Returns what to print before the kernel stops, if the fault at `address` is in the
//! /// instance's range. `None` means that it is none of the instance's business: a page may be
//! /// mapped there on demand.
//! fn explain_fault<P: Platform>(vmalloc: &Vmalloc<P>, address: usize) -> Option<String> {
//!     let what = || format!("{address:#x} is {}", vmalloc.whatis(address));
//!     vmalloc.contains(address).then(what)
//! }
//!
//! # #[cfg(not(feature = "host"))]
//! # fn main() {}
//! # #[cfg(feature = "host")]
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let machine = vmalloc::host::Machine::new(1, 2000);
//! # // SAFETY: nothing else is mapped there, and no pointer is followed.
//! # let vmalloc = &unsafe { Vmalloc::new(&machine, 0xffff_c900_0000_0000..0xffff_c900_4000_0000)? };
//! let area = vmalloc.vmalloc(10_000)?; // three pages
//! let end = area.addr().get() + 3 * 4096;
//! assert!(explain_fault(vmalloc, end).unwrap().contains("in the guard page of"));
//! assert_eq!(explain_fault(vmalloc, 0x1000), None);
//! # Ok(()) }
//! ```
//!
//! If frees are remembered, this prints, for a use after free,
//!
//! ```text
//! 0xffffc900000d1000 is in a page that no area has; what was there before is 5000 bytes of vmalloc at 0xffffc900000d1000,
//! allocated by src/net.rs:17:30, freed by src/net.rs:40:36 on CPU 0 in the thread main, 3 ms ago
//!   below  0xffffc900000c8000-0xffffc900000d1000    36864 src/rcu.rs:373:34 pages=8 vmalloc
//!   above  0xffffc90000200000-0xffffc90000202000     8192 src/boot.rs:134:49 pages=1 ioremap
//! ```
//!
//! # Where each call may be made
//!
//! | calls | threads that may wait | pinned, or locks held | interrupt handlers |
//! |---|---|---|---|
//! | `vfree` | yes | yes | the area is noted, and the next purge frees it |
//! | `whatis`, `find_area`, `frame_at`, `area_frames`, `contains`, `vread`, `lazy_pages`, `lazy_max`, `set_clock`, `set_trace_purges` | yes | yes | yes |
//! | `vmalloc`, `vzalloc`, `allocate`, `vmap`, `ioremap`, `vm_map_ram`, `vrealloc`, `allocate_congruent`, `populate` | yes | yes; they do not wait, and may be refused instead | refused |
//! | `vunmap`, `vm_unmap_ram`, `free_congruent`, `depopulate`, `set_protection` | yes | yes | refused |
//! | `purge`, `vm_unmap_aliases` | yes | yes, and they do not wait for another thread's purge | a panic |
//! | `new`, `with_policy` | yes | yes | a panic |
//! | `trim`, `shrink`, `release_cpu`, `set_trace`, `set_reuse`, `set_remembered`, `set_check_slack`, `set_quarantine`, dropping an instance | yes | yes, but they may leave something undone | a panic |
//! | `find_foreign`, `areas`, `next_area`, `for_each_area`, `for_each_block`, `lazy_ranges`, `stats`, `tally`, `register_notifier`, `unregister_notifier` | yes | yes | a panic |
//!
//! An interrupt handler may have interrupted code that holds a lock of the library. The machine tells where
//! a call is made by [`Platform::in_interrupt`] and [`Platform::pause`]. A call that is refused there
//! returns its error `InInterrupt` and has changed nothing. While a call waits for other CPUs, it leaves
//! interrupts on or off as they were.
//!
//! # Features
//!
//! None is enabled by default. Without `collections` the library does not use `alloc`.
//!
//! | feature | provides | builds on |
//! |---|---|---|
//! | `heap` | [`Heap`], a global allocator | `linked_list_allocator` |
//! | `mmio` | [`Mmio`], a device's registers | `volatile` |
//! | `collections` | [`VBox`] and [`VVec`], collections in areas of their own. It uses `alloc`, so there must be a global allocator, which a [`Heap`] can be | `allocator-api2` |
//! | `host` | [`host::Machine`], to test on the host what uses the library; it is left out for a target without `std` | `std` |
//! | `x86_64` | [`adapters::Freeing`] and [`adapters::NeverFreeing`], frame allocators of the crate `x86_64`, and conversions between [`Frame`] and its `PhysFrame` | `x86_64` 0.15 |
//! | `check` | [`check::platform`], which tests whether a machine keeps its promises | `raw-cpuid`, `x86_64` |
//!
//! # Inside
//!
//! One idea carries the library. A **vmap block** is 2 MiB of address space, one leaf page table and one descriptor of
//! 192 bytes. The descriptor's bitmaps and the page table entries hold what Linux keeps in trees of objects, so a free
//! allocates nothing. Freed pages keep their frames; one flush makes all of them free again, in batches called purges.
//!
//! The modules are rooms in a fixed order: each uses those below it and none above it. The table gives the
//! order. [`Vmalloc`] is built in the same way: its layers own each other, so that none can call upward.
//!
//! | room | has |
//! |---|---|
//! | `check` | tests whether a machine keeps its promises (feature `check`) |
//! | `owned` | types that own: areas, stacks, collections, registers, a heap |
//! | `calls` | the public calls, one file for each family |
//! | `inspect` | finding and listing areas, counters, and reading what may vanish |
//! | `vmalloc` | the instance: the rooms put together |
//! | `reclaim` | purges; what an allocation does when it runs out; giving back caches, directories and records |
//! | `areas` | small areas, runs of blocks, cached runs, mappings of `vm_map_ram`, congruent areas |
//! | `magazines` | each CPU's freed areas that the next allocations take as they are |
//! | `pools` | each CPU's supply of pages: bump run, current block, bins |
//! | `pending` | what was unmapped and waits for a flush |
//! | `blocks` | descriptors, the states of pages, leaf tables, splitting of 2 MiB pages |
//! | `arena` | which blocks are free |
//! | `page_table` | entries, and the tables that hold them |
//! | `base` | the machine, the span, the tunables and the policy, for every room to ask |
//! | `remembered` | the last frees, if they are to be remembered |
//! | `percpu` | each CPU's record, in which each room has its part |
//! | `framed` | values in frames of their own |
//! | `lock` | spinlocks that can only be taken pinned |
//! | `span` | the arithmetic of addresses, pages and blocks |
//! | [`adapters`] | a ready-made machine, for one CPU or several |
//! | [`host`] | a simulated machine in the host's memory, for tests (feature `host`) |
//! | `platform` | what the library asks of its machine |
//! | `bitmap` | runs of set bits in the 512 bits of a block |
//! | `types` | the vocabulary of the public interface |
//! | `tlb` | which CPUs must flush, by epochs and mailboxes |
//! | `atomic` | the atomics, which loom and shuttle replace |
//!
//! Locks are taken in this order: the arena's; a pool's, or that of a CPU's cached runs; a block's, or that of a CPU's
//! reserve. No other lock is taken under the last two. The notifiers' lock is taken with no other held, and no other
//! is taken under it. None is held while memory is taken from the platform or given to it, or while CPUs are flushed.
//! Most allocations and frees, those that take or leave parked areas, take no lock; other frees take the block's.
#![no_std]
// docs.rs says of each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// What only a feature has cannot be linked to without it.
#![cfg_attr(
    not(all(
        feature = "check",
        feature = "collections",
        feature = "heap",
        feature = "host",
        feature = "mmio",
        feature = "x86_64",
        not(target_os = "none"),
        target_arch = "x86_64"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

// It has x86-64's instructions, but for tests.
#[cfg(any(test, target_arch = "x86_64"))]
pub mod adapters;
mod apart;
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
#[cfg(all(any(test, feature = "host"), not(any(loom, target_os = "none"))))]
pub mod host;
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
mod remembered;
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
    area::{AreaInfo, AreaSummary, Cache, Kind, Protection, birth::Birth},
    congruent::{CongruentArea, CongruentSet, MAX_CONGRUENT},
    error::{AllocError, CongruentError, FreeError, NewError, PopulateError, ProtectError, ReallocError},
    event::Event,
    foreign::ForeignEntry,
    frame::{BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, Frame, PAGE_SHIFT, PAGE_SIZE},
    policy::{
        GatherPolicy, GuardPolicy, OverflowPolicy, Policy, PurgePolicy, Reuse, SearchPolicy, Slack, Zeroing,
    },
    request::Request,
    returned::Returned,
    stats::{BlockStats, Stats, Tally},
    tunables::Tunables,
    whatis::{Place, Whatis, freed::Freed, overrun::Overrun},
};
pub use vmalloc::{MAX_RANGE, Vmalloc};
#[cfg(feature = "mmio")]
pub use volatile;
