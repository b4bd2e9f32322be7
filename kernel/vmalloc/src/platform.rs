//! What the library asks of its machine, and the words both share.

use crate::{BLOCK_PAGES, Event, Flusher, Frame, PAGE_SIZE, Shootdown};
use core::{ops::Deref, panic::Location, ptr::NonNull, sync::atomic::AtomicU64};

/// A page table of any level. Entries are atomic because CPUs walk the table,
/// and set accessed and dirty bits in it, at any time.
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

/// Keeps the running code on one CPU, and others off it, until dropped.
pub trait CpuPin {
    /// The CPU's number, below [`MAX_CPUS`](crate::MAX_CPUS); numbers may have holes.
    fn cpu(&self) -> usize;

    /// The library is about to take one of its locks, at `place`: for machines that check the order.
    #[inline]
    fn acquiring(&self, class: LockClass, place: &'static Location<'static>) {
        let _ = (class, place);
    }

    /// The lock that the library is about to take is taken: it begins to wait.
    #[inline]
    fn waiting(&self, class: LockClass) {
        let _ = class;
    }

    /// The library opened one of its locks.
    #[inline]
    fn released(&self, class: LockClass) {
        let _ = class;
    }
}

/// One of the library's locks, in the order they are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockClass {
    /// A CPU's partly free blocks.
    Pool,
    /// A block's pages.
    Block,
    /// Which blocks are free.
    Arena,
    /// A CPU's leaf tables out of use.
    Reserve,
    /// Runs of blocks that a CPU keeps.
    Runs,
    /// The purge notifiers.
    Notifiers,
}

/// The pin of a machine with one CPU and without preemption.
#[derive(Clone, Copy, Debug)]
pub struct SingleCpu;

impl CpuPin for SingleCpu {
    fn cpu(&self) -> usize {
        0
    }
}

/// The machine under the library: frames, page tables, CPUs.
///
/// # Safety
/// The library hands out pointers on the strength of these promises:
/// 1. A frame that was taken belongs to the taker alone until it is given back.
///    A huge frame is 512 frames, contiguous and aligned to their size.
/// 2. Of a frame that was ever taken, [`direct_map`](Self::direct_map) points to the bytes, writable, for as long
///    as the machine lives, and the same frame is always at the same address;
///    [`frame_of`](Self::frame_of) is its inverse.
/// 3. A table taken is filled with zeros.
/// 4. [`root`](Self::root) is the top level page table of every CPU, and nobody but the library
///    changes what lies below it in an instance's range.
/// 5. [`Flusher`]'s flushes drop what they say, everything in the CPU's paging-structure caches
///    included, and every CPU that uses an instance is [online](Shootdown::set_online) in
///    [`shootdown`](Self::shootdown), which is one and the same for all instances under one root.
/// 6. A [`Pin`](Self::Pin) that lives keeps every other thread off its CPU.
/// 7. [`synchronize`](Self::synchronize) says `true` only when what it waits for has come to pass.
/// 8. [`direct_map`](Self::direct_map) shows each frame that [`is_ram`](Self::is_ram) says `true` of, as it
///    shows those that were taken.
pub unsafe trait Platform: Flusher {
    /// See [`pin`](Self::pin).
    type Pin: CpuPin;

    /// Turns preemption off until the result is dropped. May nest.
    fn pin(&self) -> Self::Pin;

    /// As [`pin`](Self::pin), but `None` in an [interrupt handler](Self::in_interrupt): each allocation and each free
    /// asks, so a machine that can tell both at once does.
    #[inline]
    #[track_caller]
    fn pin_outside_interrupts(&self) -> Option<Self::Pin> {
        if self.in_interrupt() { None } else { Some(self.pin()) }
    }

    /// The top level (PML4) table.
    fn root(&self) -> Frame;

    /// Frames the machine has in all, taken or not. A request for more is refused before tables and
    /// records are made for it.
    fn total_frames(&self) -> usize {
        usize::MAX
    }

    /// Frames that [`take_frames`](Self::take_frames) could give now, or more: who needs more than that is refused,
    /// when nothing is kept any more, without taking those there are from others. Those in other CPUs' hands count
    /// if they can be had. Asked when many frames, or the last ones, are taken.
    fn free_frames(&self) -> usize {
        self.total_frames()
    }

    /// Takes up to `count` frames, gives each to `sink`, returns how many there were.
    /// Fewer than asked for means that memory is out. `sink` must not call the platform.
    fn take_frames(&self, count: usize, sink: impl FnMut(Frame)) -> usize;

    /// Takes back frames that no CPU can reach any more. The iterator must not call the platform.
    fn give_frames(&self, frames: impl Iterator<Item = Frame>);

    /// Takes one 2 MiB frame: its first page frame. `None` if there is none at once, or ever.
    fn take_huge_frame(&self) -> Option<Frame> {
        None
    }

    /// Takes back a 2 MiB frame that no CPU can reach any more. One whose page was split comes back
    /// by [`give_frames`](Self::give_frames) instead, page frame by page frame.
    fn give_huge_frame(&self, first: Frame) {
        self.give_frames((first.number()..).take(BLOCK_PAGES).map(Frame::new));
    }

    /// Takes a frame full of zeros for page tables and the library's own records.
    fn take_table(&self) -> Option<Frame> {
        let mut taken = None;
        self.take_frames(1, |frame| taken = Some(frame));
        let frame = taken?;
        // SAFETY: promises 1 and 2: the frame is ours, and its bytes are there.
        unsafe { self.direct_map(frame).cast::<[u64; PAGE_SIZE / 8]>().write([0; PAGE_SIZE / 8]) };
        Some(frame)
    }

    /// Takes back what [`take_table`](Self::take_table) gave, with any contents.
    fn give_table(&self, frame: Frame) {
        self.give_frames(core::iter::once(frame));
    }

    /// Where the kernel sees the bytes of a frame that was taken, or [is RAM](Self::is_ram).
    fn direct_map(&self, frame: Frame) -> NonNull<u8>;

    /// Whether [`direct_map`](Self::direct_map) shows the frame, any of those that the CPUs can
    /// [address](Self::physical_bits), and shows it cached as ordinary memory is: so not of a device's
    /// registers, nor of a hole. [`vread`](crate::Vmalloc::vread) reads what it was not given by this
    /// alone, and [`ioremap`](crate::Vmalloc::ioremap) refuses it another way of caching.
    fn is_ram(&self, frame: Frame) -> bool;

    /// Bits of a physical address that the CPUs have: of CPUID leaf 8000_0008H the lowest byte of EAX (Intel SDM
    /// 2A, CPUID). An entry with higher ones faults. Asked once by each instance.
    fn physical_bits(&self) -> u32;

    /// The frame that [`direct_map`](Self::direct_map) shows at this address.
    fn frame_of(&self, direct: NonNull<u8>) -> Frame;

    /// Which CPUs may still use old translations.
    fn shootdown(&self) -> &Shootdown;

    /// Too many pages wait for a flush: wakes a thread that calls [`Vmalloc::purge`](crate::Vmalloc::purge).
    /// `false` if there is none; then the caller purges.
    fn wake_purger(&self) -> bool {
        false
    }

    /// Waits a little for a purge that another thread is in, and says `true`; called again and again until the purge is
    /// over. An allocation that has run out of room keeps others from purging as long as its last attempt lasts, with
    /// all the zeroing it was asked for: that is waited for, too. `false` at once where the caller may not wait: then
    /// what another thread's purge is needed for is refused, or left undone.
    ///
    /// A kernel with threads says `true` where the caller can be put off its CPU, so that the other thread runs
    /// whatever the priorities of both; with preemption or interrupts off that is not so. One with several CPUs and
    /// without preemption may spin and say `true`. With one CPU and without threads nobody else ever purges: the
    /// default, which never waits, loses nothing there.
    fn pause(&self) -> bool {
        false
    }

    /// Waits until every CPU has had, since the call, a moment without a [`Pin`](Self::Pin) and with interrupts on:
    /// whoever found before what is unlinked by now is done with it. Called without a pin of the library, by the one
    /// purge at a time. `false` at once if the caller may not wait, or the machine cannot tell; then frames of
    /// records stay until the instance is dropped.
    fn synchronize(&self) -> bool {
        false
    }

    /// Whether an interrupt handler runs that may have interrupted the library. What waits for anything, or takes a
    /// lock, is refused there.
    fn in_interrupt(&self) -> bool {
        false
    }

    /// Something happened, if the instance is [traced](crate::Tunables::trace). Called anywhere, pinned or
    /// not, with a lock of the library held or not: it waits for nothing, and uses no instance.
    fn trace(&self, event: Event) {
        let _ = event;
    }
}
