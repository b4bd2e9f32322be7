//! CPUs that stand still until others have flushed.
//!
//! Who waits says so and then looks once more; who has flushed then looks who waits. So one of the two sees the other.
//! What is missed all the same, because a CPU flushed without an interrupt, is seen at the next tick.

use crate::arch::{
    apic::{self, Vector},
    cpu::{self, MAX_CPUS, interrupt_flag},
    tsc::TimeLeft,
};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Whether the CPU stands still, or is about to.
static HALTED: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];
/// How many do.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Stops the CPU, which is pinned and has interrupts on, until `done`, or until `microseconds` have passed; whether it was
/// done in time. Handlers of interrupts run meanwhile.
pub(super) fn wait_until(microseconds: u64, done: impl Fn() -> bool) -> bool {
    let mut left = TimeLeft::new(microseconds);
    let this = &HALTED[cpu::current()];
    this.store(true, Ordering::Relaxed);
    COUNT.fetch_add(1, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    let on_time = loop {
        interrupt_flag::disable();
        if done() {
            interrupt_flag::enable();
            break true;
        }
        if left.is_over() {
            interrupt_flag::enable();
            break done();
        }
        interrupt_flag::enable_and_halt();
    };
    this.store(false, Ordering::Relaxed);
    COUNT.fetch_sub(1, Ordering::Relaxed);
    on_time
}

/// Has the CPUs that stand still look again. Called by a CPU that has flushed.
pub(super) fn wake() {
    fence(Ordering::SeqCst);
    if COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let here = cpu::current();
    for other in cpu::online().iter().filter(|&number| number != here) {
        if HALTED[other].load(Ordering::Relaxed) {
            apic::send(other, Vector::Flushed);
        }
    }
}
