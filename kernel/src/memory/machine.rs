//! The machine as the vmalloc library sees it, and the kernel's instance.

use super::{
    frames, hooks,
    purge_wish::{self, PurgeWish},
};
use crate::{
    arch::{
        cpu::{self, Pin, controls::Controls},
        layout,
        paging::direct_map,
        tlb::{self, Cpus},
        tsc,
    },
    sync::{Once, order},
    trace::{self, Who},
};
use core::{
    fmt,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use vmalloc::{
    CpuSet, Event, Flusher, Frame, NewError, Platform, Policy, Returned, Scope, Shootdown, Slack, Vmalloc,
    Zeroing,
};

/// This machine: its frames, its page tables, its CPUs.
#[derive(Clone, Copy)]
pub struct Machine {
    root: Frame,
    /// The wish for a purge in the background, if anybody serves it.
    purger: Option<&'static PurgeWish>,
}

impl Machine {
    /// The machine under page tables that other instances use too.
    pub(crate) fn new(root: Frame, purger: Option<&'static PurgeWish>) -> Self {
        Self { root, purger }
    }
}

// SAFETY: 1. the frame allocator gives a frame to one taker. 2. the direct map shows its frames for
// ever. 3. `take_table` clears. 4. one page table root serves all CPUs, and outside of the image and
// the direct map only the library changes it. 5. `Cpus` flushes by INVLPG and
// CR3, and the boot sequence lets each CPU take part before it uses what may change. 6. threads are
// switched only when no pin is left. 7. a grace period is that. 8. the direct map's own tables are asked. 9. each
// entry of a handler is counted. 10. the kernel is one image of less than 2 GiB.
unsafe impl Platform for Machine {
    type Pin = Pin;

    #[inline]
    #[track_caller]
    fn pin(&self) -> Pin {
        Pin::new()
    }

    #[inline]
    #[track_caller]
    fn pin_outside_interrupts(&self) -> Option<Pin> {
        Pin::outside_interrupts()
    }

    fn root(&self) -> Frame {
        self.root
    }

    #[inline]
    fn total_frames(&self) -> usize {
        frames::total()
    }

    fn free_frames(&self) -> usize {
        frames::free()
    }

    #[inline]
    fn take_frames(&self, count: usize, sink: impl FnMut(Frame)) -> usize {
        frames::take(count, sink)
    }

    #[inline]
    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        // SAFETY: the library gives back what it took, when no CPU can reach it any more.
        unsafe { frames::give(frames.into_inner()) };
    }

    fn take_huge_frame(&self) -> Option<Frame> {
        frames::take_huge_at_hand()
    }

    fn give_huge_frame(&self, first: Returned<Frame>) {
        // SAFETY: as above.
        unsafe { frames::give_huge(first.into_inner()) };
    }

    fn take_table(&self) -> Option<Frame> {
        frames::take_table()
    }

    fn give_table(&self, frame: Returned<Frame>) {
        // SAFETY: as above.
        unsafe { frames::give_table(frame.into_inner()) };
    }

    #[inline]
    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        direct_map::pointer(frame)
    }

    fn is_ram(&self, frame: Frame) -> bool {
        direct_map::shows(frame)
    }

    fn physical_bits(&self) -> u32 {
        cpu::physical_bits()
    }

    fn page_attribute_table(&self) -> u64 {
        Controls::KERNEL.page_attribute_table()
    }

    fn frame_of(&self, direct: NonNull<u8>) -> Frame {
        direct_map::frame(direct)
    }

    fn shootdown(&self) -> &Shootdown {
        tlb::shootdown()
    }

    fn wake_purger(&self) -> bool {
        order::expect_none_held("the purger is woken");
        self.purger.is_some_and(PurgeWish::wake)
    }

    fn pause(&self) -> bool {
        (hooks::HOOKS.get().pause)(PAUSE)
    }

    fn synchronize(&self) -> bool {
        (hooks::HOOKS.get().synchronize)()
    }

    #[inline]
    fn in_interrupt(&self) -> bool {
        cpu::in_interrupt()
    }

    fn trace(&self, event: Event) {
        trace::record(event, Who { tag: self.thread_tag(), id: (hooks::HOOKS.get().thread_id)() });
    }

    fn now(&self) -> u64 {
        tsc::microseconds(tsc::now()).saturating_mul(1000)
    }

    fn thread_tag(&self) -> [u8; 16] {
        (hooks::HOOKS.get().thread_tag)()
    }
}

// SAFETY: as `Cpus`, which does it.
unsafe impl Flusher for Machine {
    fn here(&self) -> usize {
        Cpus.here()
    }

    #[inline]
    fn flush_page(&self, address: usize) {
        Cpus.flush_page(address);
    }

    fn flush_all(&self) {
        Cpus.flush_all();
    }

    fn interrupt(&self, cpus: CpuSet) {
        Cpus.interrupt(cpus);
    }

    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        Cpus.wait(cpu, done);
    }

    fn uninterrupted(&self, serve: impl FnOnce()) {
        Cpus.uninterrupted(serve);
    }

    #[inline]
    fn broadcasts(&self) -> bool {
        Cpus.broadcasts()
    }

    fn broadcast(&self, scope: Scope<'_>) {
        Cpus.broadcast(scope);
    }
}

/// Microseconds between two looks at whether another thread's purge is over.
const PAUSE: u64 = 200;

static VMALLOC: Once<Vmalloc<Machine>> = Once::new();
/// When the kernel's instance was made, by the TSC.
static MADE: AtomicU64 = AtomicU64::new(0);

/// The policy of this kernel's instances. Dirty bits are trusted: the kernel writes to the frames of areas through the areas'
/// addresses only, and the devices that write to memory by themselves, the one for firmware's files and the one that answers on
/// the stream to the host, write to pages that the CPU has written to before.
pub fn policy() -> Policy {
    Policy::default().zeroing(Zeroing::TrustDirty).slack(Slack::Ignored)
}

/// Makes the kernel's instance, in page tables that may not be in use yet. For the boot sequence.
///
/// # Errors
/// [`NewError::OutOfFrames`].
pub(crate) fn init_vmalloc(root: Frame) -> Result<&'static Vmalloc<Machine>, NewError> {
    MADE.store(tsc::now(), Ordering::Relaxed);
    // SAFETY: the address map gives the range to this instance; called once, by the boot sequence.
    VMALLOC.try_call_once(|| unsafe {
        Vmalloc::with_policy(Machine::new(root, Some(&purge_wish::KERNEL)), layout::VMALLOC, policy())
    })
}

/// The kernel's instance.
#[inline]
pub fn vmalloc() -> &'static Vmalloc<Machine> {
    match VMALLOC.get() {
        Some(vmalloc) => vmalloc,
        None => panic!("vmalloc is used before the boot sequence made it"),
    }
}

/// The kernel's instance, if the boot sequence has made it.
pub fn try_vmalloc() -> Option<&'static Vmalloc<Machine>> {
    VMALLOC.get()
}

/// The kernel's instance's clock: milliseconds since it was made.
pub fn milliseconds() -> u64 {
    tsc::microseconds(tsc::now().saturating_sub(MADE.load(Ordering::Relaxed))) / 1000
}

/// Called at each tick of a CPU: sets the instance's clock at those of the first one.
pub(crate) fn set_clock(cpu: usize) {
    if cpu == 0
        && let Some(vmalloc) = try_vmalloc()
    {
        vmalloc.set_clock(milliseconds());
    }
}

/// A stack from the kernel's instance.
pub type Stack = vmalloc::Stack<'static, Machine>;

/// Writes what is at an address, and what was there, as a continuation of a line; nothing if it is not in the range. For
/// reports of faults.
pub(crate) fn describe_address(address: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match try_vmalloc().filter(|vmalloc| vmalloc.contains(address)) {
        Some(vmalloc) => write!(f, "; it is {}", vmalloc.whatis(address)),
        None => Ok(()),
    }
}
