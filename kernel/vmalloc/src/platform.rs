//! What the library asks of its machine, and the types that both use.

mod shared;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::{BLOCK_PAGES, Event, Flusher, Frame, Overrun, PAGE_SIZE, Returned, Shootdown};
use core::{ops::Deref, panic::Location, ptr::NonNull, sync::atomic::AtomicU64};

/// A page table of any level: 512 entries. They are atomic because CPUs walk the table, and set accessed and dirty bits
/// in it, at any time.
#[doc(alias = "pte_t")]
#[repr(C, align(4096))]
pub struct Table {
    entries: [AtomicU64; 512],
}

impl Deref for Table {
    type Target = [AtomicU64; 512];

    #[inline]
    fn deref(&self) -> &[AtomicU64; 512] {
        &self.entries
    }
}

/// Keeps the current thread on its CPU, and other threads off that CPU, until it is dropped.
#[doc(alias = "preempt_disable")]
pub trait CpuPin {
    /// Returns the CPU's number, below [`MAX_CPUS`](crate::MAX_CPUS). A machine's numbers may have gaps.
    fn cpu(&self) -> usize;

    /// Tells the machine that the library is about to take one of its locks, at `place`. The default does nothing, which
    /// is right for every machine that does not check the order in which locks are taken.
    #[doc(alias = "lock_acquire")]
    #[inline]
    fn acquiring(&self, class: LockClass, place: &'static Location<'static>) {
        let _ = (class, place);
    }

    /// Tells the machine that the lock that the library is about to take is held by another CPU. The machine
    /// calls `wait`, which spins until the caller has the lock; so the machine can measure how long that
    /// takes. The default just calls it, which is right for every machine that does not measure that.
    #[doc(alias = "lock_contended")]
    #[inline]
    fn waiting(&self, class: LockClass, wait: impl FnOnce()) {
        let _ = class;
        wait();
    }

    /// Tells the machine that the library released one of its locks. The default does nothing, like that of
    /// [`acquiring`](Self::acquiring).
    #[doc(alias = "lock_release")]
    #[inline]
    fn released(&self, class: LockClass) {
        let _ = class;
    }
}

/// A class of the library's locks, for machines that check the order in which locks are taken: that of the variants.
/// No other lock is taken under a `Block` or a `Reserve`; the `Heap` and the `Notifiers` are locked alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockClass {
    /// The lock of the chunks of a `Heap`.
    Heap,
    /// The lock of the arena, which knows which blocks are free.
    Arena,
    /// The lock of a CPU's partly free blocks.
    Pool,
    /// The lock of a CPU's cache of freed runs of blocks.
    Runs,
    /// The lock of a block's pages.
    Block,
    /// The lock of a CPU's reserve of leaf tables.
    Reserve,
    /// The lock of the purge notifiers.
    Notifiers,
}

/// The [`CpuPin`] of a machine with one CPU and without preemption: it does nothing.
#[derive(Clone, Copy, Debug)]
pub struct SingleCpu;

impl CpuPin for SingleCpu {
    fn cpu(&self) -> usize {
        0
    }
}

/// The machine under the library: its frames, page tables and CPUs. A kernel implements it once, and then
/// makes instances over it by [`Vmalloc::new`](crate::Vmalloc::new). An instance owns its machine; several
/// instances share one by references to it, which are machines, too. [The list of what to do before the first
/// call](crate#before-the-first-call) says what else a kernel must take care of.
///
/// Each method with a default says in its first paragraph what that is, and for which machines it is right. No
/// default is wrong for any machine: it only does without something. Where one would be wrong there is none.
///
/// # Safety
/// The library hands out pointers on the strength of these promises. `check::platform`, behind the feature
/// `check`, tests those that can be tested.
/// 1. A frame that was taken belongs to the taker alone until it is given back.
///    A huge frame is 512 frames, contiguous and aligned to their size.
/// 2. For every frame that was ever taken, [`direct_map`](Self::direct_map) points to its bytes, writable,
///    for as long as the machine lives, and a frame is always at the same address, which is a multiple of the
///    page size; [`frame_of`](Self::frame_of) is its inverse.
/// 3. A table that was taken is full of zeros.
/// 4. [`root`](Self::root) is the top level page table of every CPU, and nobody but the library
///    changes what lies below it in an instance's range.
/// 5. [`Flusher`]'s flushes drop what they say they drop, including everything in the CPU's paging-structure
///    caches, and every CPU that uses an instance is [online](Shootdown::set_online) in
///    [`shootdown`](Self::shootdown), which is one and the same for all instances under one root.
/// 6. A live [`Pin`](Self::Pin) keeps every other thread off its CPU, and its [`cpu`](CpuPin::cpu) is that
///    CPU's number, which no other CPU has.
/// 7. [`synchronize`](Self::synchronize) returns true only once what it waits for has happened.
/// 8. [`direct_map`](Self::direct_map) shows each frame for which [`is_ram`](Self::is_ram) returns true, just
///    as it shows those that were taken.
/// 9. In each interrupt handler that may call the library, [`in_interrupt`](Self::in_interrupt) returns true and
///    [`pin_outside_interrupts`](Self::pin_outside_interrupts) `None`, unless interrupts are off while there is a pin.
/// 10. Callers of the library are linked within 2 GiB of it, as all of a kernel is (code model `kernel`):
///     entries hold the lowest 32 bits of the address of a caller's [`Location`]. Debug assertions check this.
pub unsafe trait Platform: Flusher {
    /// What [`pin`](Self::pin) returns.
    type Pin: CpuPin;

    /// Turns preemption off until the result is dropped. Pins nest.
    #[doc(alias = "preempt_disable")]
    #[doc(alias = "get_cpu")]
    fn pin(&self) -> Self::Pin;

    /// Turns preemption off as [`pin`](Self::pin) does, or returns `None` in an [interrupt
    /// handler](Self::in_interrupt). The default calls these two methods, which is right for every machine;
    /// but each allocation and each free calls it, so a machine that can do both in one step overrides it.
    #[inline]
    #[track_caller]
    fn pin_outside_interrupts(&self) -> Option<Self::Pin> {
        if self.in_interrupt() { None } else { Some(self.pin()) }
    }

    /// Returns the frame of the top level page table (PML4).
    #[doc(alias = "swapper_pg_dir")]
    fn root(&self) -> Frame;

    /// Returns how many frames the machine has in total for its users, taken or not. There is no default,
    /// because the limits on what an instance holds beyond what is allocated are fractions of it: on what
    /// [waits for a flush](crate::Vmalloc::lazy_max), what is cached, and what each CPU parks. A request for
    /// more is refused before tables and records are made for it.
    #[doc(alias = "totalram_pages")]
    fn total_frames(&self) -> usize;

    /// Returns how many frames [`take_frames`](Self::take_frames) could give now, or more. The default
    /// returns [`total_frames`](Self::total_frames), which is right for every machine that does not count its
    /// free frames; an allocation that is too large then briefly takes from others what there is.
    ///
    /// An allocation that needs more frames than this is refused once all caches are empty. Frames that other
    /// CPUs cache count if they can be taken. It is called when many frames, or the last ones, are taken.
    #[doc(alias = "nr_free_pages")]
    fn free_frames(&self) -> usize {
        self.total_frames()
    }

    /// Takes up to `count` frames, gives each to `sink`, and returns how many there were. Fewer than asked for means
    /// that memory has run out. `sink` calls nothing of the platform but [`direct_map`](Self::direct_map). Neither this
    /// nor what takes tables and 2 MiB frames frees memory of an instance on this machine: one that takes some may have
    /// the right to purge.
    #[doc(alias = "alloc_pages_bulk")]
    fn take_frames(&self, count: usize, sink: impl FnMut(Frame)) -> usize;

    /// Takes back frames, which no CPU can reach any more. The iterator calls nothing of the platform but
    /// [`pin`](Self::pin), [`root`](Self::root) and [`direct_map`](Self::direct_map).
    #[doc(alias = "__free_page")]
    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>);

    /// Takes one 2 MiB frame, and returns the first of its 512 page frames. `None` means that none is
    /// available at once; the library then maps 4 KiB pages. The default returns `None`, which is right for
    /// every machine whose frame allocator hands out single frames.
    fn take_huge_frame(&self) -> Option<Frame> {
        None
    }

    /// Takes back a 2 MiB frame, given by its first page frame, that no CPU can reach any more. The default calls
    /// [`give_frames`](Self::give_frames) with all 512, which is right for every machine whose allocator merges
    /// frames, or has none of 2 MiB. A 2 MiB frame whose page was split comes back by `give_frames` anyway.
    fn give_huge_frame(&self, first: Returned<Frame>) {
        self.give_frames(Returned::new((first.into_inner().number()..).take(BLOCK_PAGES).map(Frame::new)));
    }

    /// Takes a frame and fills it with zeros, for a page table or a record of the library. `None` means that
    /// memory has run out. The default takes one by [`take_frames`](Self::take_frames) and clears it, which
    /// is right for every machine that keeps no zeroed frames. Where tables lie side by side, away from the
    /// frames that they map, walks through many tables are cheaper: they touch fewer pages of the direct map.
    #[doc(alias = "pte_alloc_one_kernel")]
    fn take_table(&self) -> Option<Frame> {
        let mut taken = None;
        self.take_frames(1, |frame| taken = Some(frame));
        let frame = taken?;
        // SAFETY: promises 1 and 2: the frame is ours, and its bytes are there.
        unsafe { self.direct_map(frame).cast::<[u64; PAGE_SIZE / 8]>().write([0; PAGE_SIZE / 8]) };
        Some(frame)
    }

    /// Takes back a frame that [`take_table`](Self::take_table) gave, with any contents. The default calls
    /// [`give_frames`](Self::give_frames), right for every machine that has the default of `take_table`.
    #[doc(alias = "pte_free_kernel")]
    fn give_table(&self, frame: Returned<Frame>) {
        self.give_frames(Returned::new(core::iter::once(frame.into_inner())));
    }

    /// Returns the address at which the kernel sees a frame that was taken, or that [is RAM](Self::is_ram).
    #[doc(alias = "phys_to_virt")]
    fn direct_map(&self, frame: Frame) -> NonNull<u8>;

    /// Returns whether [`direct_map`](Self::direct_map) shows the frame, cached as ordinary memory is: so not
    /// for the registers of a device, nor for a hole. It answers for each frame that the CPUs can
    /// [address](Self::physical_bits). Of frames that an instance did not take, [`vread`](crate::Vmalloc::vread)
    /// reads only RAM, and [`ioremap`](crate::Vmalloc::ioremap) refuses to map RAM with another memory type.
    #[doc(alias = "page_is_ram")]
    fn is_ram(&self, frame: Frame) -> bool;

    /// Returns how many bits of a physical address the CPUs have: the lowest byte of EAX of CPUID leaf 8000_0008H
    /// (Intel SDM 2A, CPUID). A page table entry with a higher bit set faults. Each instance calls it once.
    #[doc(alias = "x86_phys_bits")]
    fn physical_bits(&self) -> u32;

    /// Returns the page attribute table that all CPUs have: the value of the register IA32_PAT, 277H.
    /// [`ioremap`] looks the requested memory type up in it. Entry 0 must be write back, as it is at reset.
    ///
    /// The default is the table at reset (Intel SDM 3A, table 12-12), which has no [write
    /// combining](crate::Cache::WriteCombining): `ioremap` maps such pages uncached, or as the MTRRs say. A
    /// machine that wants more writes the register on each CPU before that CPU uses an instance, by the
    /// sequence of section 12.12.4: entries 4 to 7 repeat 0 to 3, and are free to be changed.
    ///
    /// [`ioremap`]: crate::Vmalloc::ioremap
    #[doc(alias = "pat_init")]
    fn page_attribute_table(&self) -> u64 {
        0x0007_0406_0007_0406
    }

    /// Returns the frame that [`direct_map`](Self::direct_map) shows at this address.
    #[doc(alias = "virt_to_page")]
    fn frame_of(&self, direct: NonNull<u8>) -> Frame;

    /// Returns the machine's one [`Shootdown`], which knows which CPUs may still use old translations.
    fn shootdown(&self) -> &Shootdown;

    /// Wakes a thread that calls [`Vmalloc::purge`](crate::Vmalloc::purge), and returns whether there is one. The
    /// default returns false, so that callers that free purge now and then; it is right for every machine without
    /// such a thread. It is called when more pages wait for a flush than [`lazy_max`](crate::Vmalloc::lazy_max).
    #[doc(alias = "drain_vmap_work")]
    fn wake_purger(&self) -> bool {
        false
    }

    /// Waits a little for another thread's purge, and returns true; or returns false at once where the caller
    /// may not wait: then the call that needs the purge is refused, or leaves something undone. The default
    /// returns false, which is right for a machine with one CPU and without threads, where nobody else ever
    /// purges. On others an allocation may then be refused that would have found memory after a wait.
    ///
    /// A kernel with threads sleeps or yields, and returns true, where the caller can be descheduled, so that
    /// the other thread runs whatever the priorities of both; with preemption or interrupts off it returns
    /// false. A kernel with several CPUs and without preemption may spin and return true. It is called
    /// repeatedly until the purge is over, and until a thread that waits for a [grace period](Self::synchronize) is done: where
    /// the caller's pin holds that up, it returns false. The last attempt of an allocation that ran out of memory counts as
    /// a purge, including all the zeroing that the allocation asked for.
    #[doc(alias = "cond_resched")]
    fn pause(&self) -> bool {
        false
    }

    /// Waits for a grace period, until every CPU has had a moment since the call without a [`Pin`](Self::Pin) and
    /// with interrupts on, and returns true. The default returns false, which is right for every machine that
    /// cannot tell; then frames of records, and what other CPUs have parked, stay until the instance is dropped.
    ///
    /// Whoever found a record before it was unlinked is done with it after a grace period. Where the caller may
    /// not wait, this returns false at once. The library calls it unpinned, and in several threads at once.
    #[doc(alias = "synchronize_rcu")]
    fn synchronize(&self) -> bool {
        false
    }

    /// Returns whether the current CPU is in an interrupt handler, which may have interrupted the library. There
    /// is no default, because a wrong answer means a deadlock or an area with two owners: a handler that frees
    /// something in a block that the interrupted code has locked waits for a lock that only that code can release.
    ///
    /// Calls that wait for anything, or take a lock, are refused there; [`vfree`](crate::Vmalloc::vfree)
    /// notes the area. A kernel usually counts, for each CPU, how many handlers are entered and not left. A
    /// kernel whose handlers neither call the library nor drop anything allocated by it returns false. That
    /// the interrupt flag is clear is no sign of a handler: threads clear it, too. An exception handler
    /// counts if the code that it interrupted may have held a lock of the library, as does an NMI handler.
    #[doc(alias = "in_hardirq")]
    fn in_interrupt(&self) -> bool;

    /// Records an event. The default does nothing, which is right for every machine whose instances are not
    /// [traced](crate::Vmalloc::set_trace).
    ///
    /// It is called while an instance is traced, in any context, pinned or not, with locks of the library
    /// held or not: it must wait for nothing, and use no instance.
    fn trace(&self, event: Event) {
        let _ = event;
    }

    /// Returns nanoseconds since some fixed moment, such as the machine's start. The default returns 0, which is right
    /// for every machine without a clock; [`Freed::age`](crate::Freed::age) is then 0. It is called in any context.
    #[doc(alias = "ktime_get")]
    fn now(&self) -> u64 {
        0
    }

    /// Returns up to 16 bytes of text, padded with zeros, that tell people which thread is running. The
    /// default returns zeros, which is right for every machine without threads. It is called in any context.
    #[doc(alias = "TASK_COMM_LEN")]
    fn thread_tag(&self) -> [u8; 16] {
        [0; 16]
    }

    /// Reports that somebody wrote past the requested bytes of an area, which is freed when this returns. The
    /// default panics with the report, which is right for every kernel that stops when memory is corrupted.
    ///
    /// # Panics
    /// The default does.
    fn report_overrun(&self, overrun: &Overrun) {
        panic!("{overrun}");
    }
}
