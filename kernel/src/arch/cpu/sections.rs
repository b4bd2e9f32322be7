//! A meter of sections: how long a CPU is kept from other threads, and from interrupts, at the longest.
//!
//! With preemption off: from the first pin to the end of the last. With interrupts off: from where
//! [`interrupt_flag`](super::interrupt_flag) turned them off, or an interrupt's handler began, to where
//! they go on; a section with interrupts off may begin in one
//! thread and end in the next. A CPU that stands idle is in no section. Not seen: the
//! steps that save and restore registers around a handler, exceptions, the boot until interrupts are
//! on, the checker of lock orders.
//!
//! While the meter is off a pin costs one branch more. Each CPU follows the switch at its next tick.

use super::record;
use crate::arch::{cpu::MAX_CPUS, tsc};
use core::{
    panic::Location,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// What is off in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Other threads cannot have the CPU.
    Preemption,
    /// Interrupts wait.
    Interrupts,
}

/// A section that is over.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// How long it took, on the time stamp counter.
    pub cycles: u64,
    /// Where it began.
    pub began: &'static Location<'static>,
    /// The address of the code where it ended.
    pub ended: usize,
}

/// The sections of one kind of one CPU. Written by that CPU only, with interrupts off or pinned.
struct Meter {
    /// When the section under way began; 0: there is none, or it is not measured.
    since: AtomicU64,
    began: AtomicPtr<Location<'static>>,
    /// Odd while the longest changes.
    version: AtomicU32,
    /// Cycles of the longest, 0 without one; and its places.
    longest: AtomicU64,
    longest_began: AtomicPtr<Location<'static>>,
    longest_ended: AtomicUsize,
}

#[repr(align(64))]
struct Meters([Meter; 2]);

static METERS: [Meters; MAX_CPUS] = [const { Meters([const { Meter::new() }; 2]) }; MAX_CPUS];

static SWITCH: AtomicUsize = AtomicUsize::new(cfg!(debug_assertions) as usize);

/// Whether the meter is on: 0 or 1. At boot it is on in debug builds only.
pub fn switch() -> &'static AtomicUsize {
    &SWITCH
}

/// Has the CPU this runs on measure, or not, as the switch says. Called with interrupts off.
pub(crate) fn follow_switch() {
    let on = SWITCH.load(Ordering::Relaxed) != 0;
    if on != record::is_metered() {
        // Of what is under way the beginning is not known, or the end will not be.
        METERS[record::current()].0.iter().for_each(|meter| meter.since.store(0, Ordering::Relaxed));
        record::set_metered(on);
    }
}

/// Has the CPU this runs on follow the switch, and forget its longest sections. Called with interrupts off. Whoever wants
/// it of all CPUs calls it on each: see [`call_on_all`](crate::arch::interrupts::call_on_all).
pub fn reset() {
    follow_switch();
    METERS[record::current()].0.iter().for_each(|meter| meter.store(0, null_mut(), 0));
}

/// The longest section of a CPU since the last [`reset`], if there was any.
pub fn longest(kind: Kind, cpu: usize) -> Option<Section> {
    METERS[cpu].0[kind as usize].longest()
}

/// A section begins at `place`, unless one is under way. Called on its CPU, with interrupts off or pinned.
#[inline]
pub(in crate::arch) fn begin(kind: Kind, place: &'static Location<'static>) {
    if record::is_metered() {
        METERS[record::current()].0[kind as usize].begin(place);
    }
}

/// The section under way, if it is measured, ends at `place`. Called on its CPU with interrupts off.
#[inline]
pub(in crate::arch) fn end(kind: Kind, place: usize) {
    if record::is_metered() {
        METERS[record::current()].0[kind as usize].end(place);
    }
}

/// The address of the code that this is inlined into.
#[inline(always)]
pub(in crate::arch) fn here() -> usize {
    let here: usize;
    // SAFETY: reads the instruction pointer.
    unsafe { core::arch::asm!("lea {}, [rip]", out(reg) here, options(nomem, nostack, preserves_flags)) };
    here
}

impl Meter {
    const fn new() -> Self {
        Self {
            since: AtomicU64::new(0),
            began: AtomicPtr::new(null_mut()),
            version: AtomicU32::new(0),
            longest: AtomicU64::new(0),
            longest_began: AtomicPtr::new(null_mut()),
            longest_ended: AtomicUsize::new(0),
        }
    }

    #[inline(never)]
    fn begin(&self, place: &'static Location<'static>) {
        // Else it goes on: pins nest, and an interrupt may come when the last is gone, before `end`.
        if self.since.load(Ordering::Relaxed) == 0 {
            self.began.store(core::ptr::from_ref(place).cast_mut(), Ordering::Relaxed);
            self.since.store(tsc::now(), Ordering::Relaxed);
        }
    }

    #[inline(never)]
    fn end(&self, place: usize) {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return;
        }
        self.since.store(0, Ordering::Relaxed);
        let cycles = tsc::now().saturating_sub(since);
        if cycles > self.longest.load(Ordering::Relaxed) {
            self.store(cycles, self.began.load(Ordering::Relaxed), place);
        }
    }

    fn store(&self, cycles: u64, began: *mut Location<'static>, ended: usize) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Who sees anything of what follows sees the odd version too.
        fence(Ordering::Release);
        self.longest.store(cycles, Ordering::Relaxed);
        self.longest_began.store(began, Ordering::Relaxed);
        self.longest_ended.store(ended, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// From any CPU.
    fn longest(&self) -> Option<Section> {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let cycles = self.longest.load(Ordering::Relaxed);
            let began = self.longest_began.load(Ordering::Relaxed);
            let ended = self.longest_ended.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
                // SAFETY: `begin` stored a reference to what lives for ever, or it is null.
                let began = unsafe { began.as_ref() }?;
                return Some(Section { cycles, began, ended });
            }
            core::hint::spin_loop();
        }
    }
}
