//! What a CPU does when there is nothing to do.

use super::{
    scheduler::{
        schedule,
        thread::{Affinity, Class, Thread, ThreadRef},
    },
    waiting::timer,
};
use crate::{
    arch::{
        cpu::{self, interrupt_flag},
        tlb,
    },
    memory::stack::Stack,
};
use core::sync::atomic::Ordering;
use vmalloc::{AllocError, MAX_CPUS};

/// They are in no line, and never end.
static THREADS: [Thread; MAX_CPUS] = [const { Thread::new("idle", Class::Idle, Affinity::Any) }; MAX_CPUS];

/// Bytes of the boot CPU's stack to idle on; the others idle on the stacks they started on.
const STACK: usize = 16 << 10;

/// The idle thread of a CPU.
pub(super) fn thread(cpu: usize) -> ThreadRef {
    ThreadRef::of_static(&THREADS[cpu])
}

/// Gives the boot CPU, which does something else now, an idle thread.
///
/// # Errors
/// No memory for its stack.
pub(super) fn init_boot_cpu() -> Result<(), AllocError> {
    let stack = Stack::new(STACK)?;
    super::spawn::prepare(thread(0), &stack.range());
    core::mem::forget(stack);
    Ok(())
}

/// What a CPU does once it is online; called with interrupts off, on the stack it idles on.
pub fn run_cpu() -> ! {
    let cpu = cpu::current();
    let this = thread(cpu);
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
        // SAFETY: `run_others` returns with interrupts off. The CPU stops, and goes on in the loop after a handler.
        unsafe { tlb::enter_idle() };
        interrupt_flag::enable_and_halt();
    }
}
