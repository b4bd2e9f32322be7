//! The handler of all interrupts: from this CPU's timer, and from other CPUs.
//!
//! It runs with interrupts off, pinned, on the stack that it interrupted. It takes no lock that is held anywhere with
//! interrupts on.

use super::{calls, exceptions::Registers};
use crate::arch::{
    apic::{self, VECTORS, Vector},
    cpu::{
        self, MAX_CPUS, Pin,
        sections::{self, Kind},
    },
    hooks, tlb,
};
use core::{
    panic::Location,
    sync::atomic::{AtomicU64, Ordering},
};
use x86_64::registers::rflags::RFlags;

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
    match vector {
        Vector::Timer => (hooks::HOOKS.get().timer)(registers.rip),
        Vector::Reschedule => cpu::want_switch(),
        Vector::Flush => tlb::on_interrupt(),
        Vector::Call => calls::answer(),
        Vector::Flushed | Vector::Unexpected | Vector::Spurious => {}
    }
    let count = &HANDLED[cpu::current()].0[vector.index()];
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
    // A spurious interrupt is not in service; Intel SDM 3A, section 12.9.
    if vector != Vector::Spurious {
        apic::end_of_interrupt();
    }
    cpu::set_in_interrupt(false);
    if cpu::unpin_in_interrupt(pin) && interrupted_on {
        (hooks::HOOKS.get().preempt)();
    }
    // Of the section that began above, or, if the thread was switched, that of who switched back.
    if interrupted_on {
        sections::end(Kind::Interrupts, sections::here());
    }
}
