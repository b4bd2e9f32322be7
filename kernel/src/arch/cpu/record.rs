//! What a CPU knows of itself, found by its GS base: its number, its thread, its stack, what keeps it from switching.
//!
//! The CPU alone writes its record, by single instructions or with interrupts off, so no lock is needed.

use crate::arch::cpu::MAX_CPUS;
use core::{
    arch::asm,
    hint::assert_unchecked,
    mem::offset_of,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
};
use x86_64::{VirtAddr, instructions::interrupts, registers::model_specific::GsBase};

/// What one CPU knows of itself. Others may read it.
#[repr(C, align(128))]
pub struct Cpu {
    /// Numbered from 0, the boot CPU, in the order of their start.
    number: AtomicU32,
    /// Number of living [`Pin`](super::Pin)s, and [`QUIET`] while nobody cares for them: a pin's increment gives a
    /// number with that bit, and no decrement gives zero. Never in an interrupt handler.
    pub(super) preemption: AtomicU32,
    /// Whether a switch of threads is wanted: one reason not to be quiet.
    pub(super) switch_wanted: AtomicBool,
    /// Whether the lengths of sections are measured: the other reason.
    metered: AtomicBool,
    /// Ends of the stack in use.
    stack: [AtomicUsize; 2],
    /// What the scheduler calls the thread that runs; 0 before there is one.
    thread: AtomicUsize,
    /// Interrupt handlers that run on the CPU: 0 or 1. The third reason not to be quiet.
    interrupts: AtomicU32,
}

/// In [`Cpu::preemption`]: the first pin and the end of the last matter to nobody. The sign of the number,
/// so that the increment itself tells.
const QUIET: u32 = 1 << 31;

static CPUS: [Cpu; MAX_CPUS] = [const {
    Cpu {
        number: AtomicU32::new(0),
        preemption: AtomicU32::new(QUIET),
        switch_wanted: AtomicBool::new(false),
        metered: AtomicBool::new(false),
        stack: [AtomicUsize::new(0), AtomicUsize::new(0)],
        thread: AtomicUsize::new(0),
        interrupts: AtomicU32::new(0),
    }
}; MAX_CPUS];

/// Makes the [`Cpu`] numbered `number` known to the CPU this runs on.
///
/// # Safety
/// No other CPU has the number, and this one has none yet.
pub(super) unsafe fn init(number: usize) {
    CPUS[number].number.store(number as u32, Ordering::Relaxed);
    GsBase::write(VirtAddr::from_ptr(&CPUS[number]));
}

/// The number of the CPU this runs on. It may change at once unless pinned.
#[inline]
pub fn current() -> usize {
    let number: usize;
    // SAFETY: GS points to this CPU's `Cpu`; the number never changes. What writes the lower half of a register clears
    // the upper one.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) number, const offset_of!(Cpu, number), options(nostack, readonly, preserves_flags));
    }
    // SAFETY: `init` pointed GS to the record of a number that the array has.
    unsafe { assert_unchecked(number < MAX_CPUS) };
    number
}

pub(super) fn this() -> &'static Cpu {
    &CPUS[current()]
}

/// What [`set_thread`] was last told on the CPU this runs on; a thread is told the same on every CPU.
#[inline]
pub fn thread() -> usize {
    let thread: usize;
    // SAFETY: GS points to this CPU's `Cpu`. One instruction: CPU and thread cannot change in between.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) thread, const offset_of!(Cpu, thread), options(nostack, readonly, preserves_flags));
    }
    thread
}

/// Tells the CPU which thread it runs; with interrupts off. The scheduler alone calls it, and believes what is read back.
pub(crate) fn set_thread(thread: usize) {
    this().thread.store(thread, Ordering::Relaxed);
}

/// Tells the CPU which stack it runs on, so that an overflow can be told from other faults.
pub(crate) fn set_stack(stack: &Range<usize>) {
    this().stack[0].store(stack.start, Ordering::Relaxed);
    this().stack[1].store(stack.end, Ordering::Relaxed);
}

/// The stack this CPU runs on.
pub fn stack() -> Range<usize> {
    this().stack[0].load(Ordering::Relaxed)..this().stack[1].load(Ordering::Relaxed)
}

/// Whether an interrupt handler runs on this CPU.
#[inline]
pub fn in_interrupt() -> bool {
    let count: u32;
    // SAFETY: GS points to this CPU's `Cpu`. A thread that goes to another CPU meanwhile is in no
    // handler, on either.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) count, const offset_of!(Cpu, interrupts), options(nostack, readonly, preserves_flags));
    }
    count != 0
}

/// Refuses a call that no interrupt handler may make, because it may have interrupted who holds what the call needs.
///
/// # Panics
/// An interrupt handler runs on this CPU; the message names `call`.
#[inline]
#[track_caller]
pub fn assert_no_interrupt(call: &str) {
    if in_interrupt() {
        refuse_in_interrupt(call);
    }
}

/// [`assert_no_interrupt`] in debug builds only, for what is called so often that the check would be felt. In release
/// builds such a call is found out where the lock that it needs is held: the locks say where.
#[inline]
#[track_caller]
pub fn debug_assert_no_interrupt(call: &str) {
    if cfg!(debug_assertions) {
        assert_no_interrupt(call);
    }
}

#[cold]
#[track_caller]
fn refuse_in_interrupt(call: &str) -> ! {
    panic!("{call} in an interrupt handler");
}

/// An interrupt handler begins, or with `false` ends, on this CPU, pinned. Meanwhile the CPU is not quiet, so that a
/// pin is told.
pub(in crate::arch) fn set_in_interrupt(inside: bool) {
    let this = this();
    this.interrupts.store(inside.into(), Ordering::Relaxed);
    this.follow_reasons();
}

impl Cpu {
    /// Makes the CPU this is quiet, or not, as there are reasons not to be. With interrupts off.
    fn follow_reasons(&self) {
        let reasons = self.interrupts.load(Ordering::Relaxed) != 0
            || self.switch_wanted.load(Ordering::Relaxed)
            || self.metered.load(Ordering::Relaxed);
        if reasons {
            self.preemption.fetch_and(!QUIET, Ordering::Relaxed);
        } else {
            self.preemption.fetch_or(QUIET, Ordering::Relaxed);
        }
    }
}

/// How many [`Pin`](super::Pin)s live on this CPU.
#[inline]
pub fn pins() -> u32 {
    let pins: u32;
    // SAFETY: GS points to this CPU's `Cpu`. One instruction: code that has no pin may go to another CPU before or
    // after it, but finds none on either.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) pins, const offset_of!(Cpu, preemption), options(nostack, readonly, preserves_flags));
    }
    pins & !QUIET
}

/// Asks this CPU to switch threads once nothing is pinned to it. Called on it, with interrupts off
/// or pinned.
pub(crate) fn want_switch() {
    this().switch_wanted.store(true, Ordering::Relaxed);
    this().preemption.fetch_and(!QUIET, Ordering::Relaxed);
}

/// Takes back what [`want_switch`] asked; whether it had been asked. Called with interrupts off.
pub(crate) fn take_switch() -> bool {
    let this = this();
    let wanted = this.switch_wanted.load(Ordering::Relaxed);
    this.switch_wanted.store(false, Ordering::Relaxed);
    this.follow_reasons();
    wanted
}

/// Whether the lengths of sections are measured on this CPU.
#[inline]
pub(in crate::arch) fn is_metered() -> bool {
    let metered: u8;
    // SAFETY: GS points to this CPU's `Cpu`. One instruction: code that has no pin may go to another CPU before or
    // after it.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg_byte) metered, const offset_of!(Cpu, metered), options(nostack, readonly, preserves_flags));
    }
    metered != 0
}

/// Has first and last pins told to `sections`, or not. Called on the CPU with interrupts off.
pub(in crate::arch) fn set_metered(metered: bool) {
    let this = this();
    this.metered.store(metered, Ordering::Relaxed);
    this.follow_reasons();
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        interrupts::disable();
        x86_64::instructions::hlt();
    }
}
