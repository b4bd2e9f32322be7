//! Interrupts: from this CPU's timer, and from other CPUs.
//!
//! A handler runs with interrupts off, pinned, on the stack it interrupted. It takes no lock that
//! is held anywhere with interrupts on.

pub(crate) mod exceptions;
pub(crate) mod idt;
pub(crate) mod segments;

use super::{
    apic,
    cpu::{
        self, Pin, interrupt_flag,
        sections::{self, Kind},
    },
    tlb, tsc,
};
use crate::{
    lock_class,
    sync::{SpinLock, order},
    threads,
};
use core::{
    panic::Location,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};
use exceptions::Registers;
use vmalloc::MAX_CPUS;
use x86_64::registers::rflags::RFlags;

/// What an interrupt is about. The highest number is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Vector {
    /// A device's, left over by the firmware: all devices are masked.
    Unexpected = 0x20,
    /// The CPU's timer.
    Timer = 0x30,
    /// Another CPU made a thread ready for this one.
    Reschedule = 0x31,
    /// Another CPU waits for this one to flush its TLB.
    Flush = 0x32,
    /// Another CPU waits for this one to call a function.
    Call = 0x33,
    /// An interrupt that went away before it could be delivered.
    Spurious = 0xff,
}

const VECTORS: [Vector; 6] =
    [Vector::Unexpected, Vector::Timer, Vector::Reschedule, Vector::Flush, Vector::Call, Vector::Spurious];

impl Vector {
    /// What an interrupt of this number is about.
    pub(in crate::arch) fn of(number: u8) -> Self {
        VECTORS.into_iter().find(|&vector| vector as u8 == number).unwrap_or(Self::Unexpected)
    }

    fn index(self) -> usize {
        match self {
            Self::Unexpected => 0,
            Self::Timer => 1,
            Self::Reschedule => 2,
            Self::Flush => 3,
            Self::Call => 4,
            Self::Spurious => 5,
        }
    }
}

/// Written by its CPU only.
#[repr(align(64))]
struct Counters([AtomicU64; VECTORS.len()]);

static HANDLED: [Counters; MAX_CPUS] =
    [const { Counters([const { AtomicU64::new(0) }; VECTORS.len()]) }; MAX_CPUS];

/// How many interrupts of this kind a CPU has handled since boot.
pub fn handled(cpu: usize, vector: Vector) -> u64 {
    HANDLED[cpu].0[vector.index()].load(Ordering::Acquire)
}

/// Called by the entry stubs.
pub(in crate::arch) fn handle(registers: &mut Registers) {
    let vector = Vector::of(registers.vector as u8);
    let interrupted_on = registers.flags & RFlags::INTERRUPT_FLAG.bits() != 0;
    if interrupted_on {
        sections::begin(Kind::Interrupts, Location::caller());
    }
    let pin = Pin::new();
    cpu::set_in_interrupt(true);
    tlb::leave_idle();
    let locks = order::enter_interrupt();
    match vector {
        Vector::Timer => threads::on_timer(),
        Vector::Reschedule => cpu::want_switch(),
        Vector::Flush => tlb::on_interrupt(),
        Vector::Call => answer_call(),
        Vector::Unexpected | Vector::Spurious => {}
    }
    let count = &HANDLED[cpu::current()].0[vector.index()];
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
    // A spurious interrupt is not in service; Intel SDM 3A, section 12.9.
    if vector != Vector::Spurious {
        apic::end_of_interrupt();
    }
    order::leave_interrupt(locks);
    cpu::set_in_interrupt(false);
    if cpu::unpin_in_interrupt(pin) && interrupted_on {
        threads::preempt();
    }
    // Of the section that began above, or, if the thread was switched, that of who switched back.
    if interrupted_on {
        sections::end(Kind::Interrupts, sections::here());
    }
}

/// One call is under way at a time.
static CALLER: SpinLock<()> = SpinLock::new(lock_class!("call to another CPU"), ());
/// A `fn()`; null when it was called.
static CALLED: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// The CPU that is to call it. Others may be sent the interrupt by mistake.
static CALLEE: AtomicUsize = AtomicUsize::new(0);
/// Microseconds after which a CPU that does not answer is broken; as for flushes.
const CALL_LIMIT: u64 = 30_000_000;

/// Calls `function` on a CPU that is online, in an interrupt, and waits until it returned.
/// Interrupts are on: two CPUs may call each other.
///
/// # Panics
/// Interrupts are off, the CPU is not online, or it does not answer for half a minute.
pub fn call_on(cpu: usize, function: fn()) {
    assert!(x86_64::instructions::interrupts::are_enabled(), "this CPU could not answer others meanwhile");
    assert!(cpu::online().contains(cpu), "CPU {cpu} is not online: it would never answer");
    let _pin = Pin::new();
    if cpu == cpu::current() {
        return interrupt_flag::without_interrupts(function);
    }
    let _caller = CALLER.lock();
    CALLEE.store(cpu, Ordering::Relaxed);
    CALLED.store(function as *mut (), Ordering::Release);
    apic::send(cpu, Vector::Call);
    let answered = tsc::spin_until(CALL_LIMIT, || CALLED.load(Ordering::Acquire).is_null());
    assert!(answered, "CPU {cpu} has not answered a call for {} seconds", CALL_LIMIT / 1_000_000);
}

fn answer_call() {
    let function = CALLED.load(Ordering::Acquire);
    if !function.is_null() && CALLEE.load(Ordering::Relaxed) == cpu::current() {
        // SAFETY: only `call_on` stores anything else than null here, and that is a `fn()`.
        let function = unsafe { core::mem::transmute::<*mut (), fn()>(function) };
        function();
        CALLED.store(core::ptr::null_mut(), Ordering::Release);
    }
}
