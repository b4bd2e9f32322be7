//! What a CPU does when there is nothing to do.

use super::{
    scheduler::{schedule, thread},
    waiting::timer,
};
use crate::arch::{
    cpu::{self, interrupt_flag},
    tlb,
};
use core::sync::atomic::Ordering;

/// What a CPU does once it is online; called with interrupts off, on the stack it idles on.
pub fn run_cpu() -> ! {
    let cpu = cpu::current();
    let this = thread::idle(cpu);
    this.set_stack(&cpu::stack());
    this.cpu.store(cpu, Ordering::Relaxed);
    cpu::set_thread(this.pointer() as usize);
    timer::start();
    run();
}

/// Runs other threads; when there are none, stops the CPU until the next interrupt. A thread that
/// somebody puts in line for this CPU after it looked comes with an interrupt, which, interrupts being
/// off, waits for the `hlt`. At each tick the CPU looks whether others have more to do than they can.
pub(super) fn run() -> ! {
    loop {
        schedule::run_others();
        // SAFETY: `run_others` returns with interrupts off. The CPU stops, and leaves idleness before it runs others.
        unsafe { tlb::enter_idle() };
        interrupt_flag::enable_and_halt();
        // Mostly a handler has done so. But a CPU may go on behind `hlt` without one: after an SMI whose handler wants that, or
        // where a hypervisor had stopped it for a page of its own.
        tlb::leave_idle();
    }
}
