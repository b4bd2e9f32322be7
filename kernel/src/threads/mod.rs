//! Preemptive kernel threads.
//!
//! | file | what |
//! |---|---|
//! | `thread`, `list` | a thread, and lists of threads |
//! | `run_queue`, `scheduler`, `switch` | who runs where, and going from one to the other |
//! | `spawn`, `reaper` | how threads begin and end |
//! | `handover` | what the reaper is given, counted until it is done with |
//! | `wait`, `sleep`, `idle` | waiting for something, for a time, for anything |
//! | `timer` | ticks, and when sleepers wake |
//! | `grace` | waiting for readers that take no lock |
//!
//! A new thread, or one that was woken, goes to the least busy CPU; a CPU that has nothing to do takes
//! threads that stand in line elsewhere, at once and at each tick. Threads of one class take turns on a
//! CPU, but none of the normal class runs where one of the real-time class wants to. Isolated CPUs run
//! what asked for them, and nothing else.

pub mod grace;
mod handover;
mod idle;
mod list;
mod reaper;
mod run_queue;
mod scheduler;
mod sleep;
mod spawn;
mod switch;
mod thread;
mod timer;
mod wait;

use crate::{
    arch::{cpu, sections, tsc},
    memory::rcu,
};
use core::sync::atomic::Ordering;

/// The atomics of the files that `kernel/vmalloc/interleavings` also compiles, with others in this place.
mod atomic {
    pub(super) use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
}

pub use idle::run_cpu;
pub use reaper::{living, settle};
pub use sleep::{sleep, sleep_until};
pub use spawn::{Builder, Handle, JoinHandle, STACK, SpawnError, current, park};
pub use thread::{Affinity, Class, current_name};
pub use wait::WaitQueue;

/// Ticks of each CPU in a second. A tick costs some hundred instructions: this many are hardly seen in
/// measurements, even where, under `-icount`, a second is a few million instructions.
pub const HERTZ: u32 = 250;

/// Makes the code that calls it, on the boot CPU, the thread `main`, which stays on this CPU; starts the
/// kernel's own threads, and the tick. Called once, with interrupts on.
///
/// # Errors
/// No memory for those threads.
pub fn init() -> Result<(), SpawnError> {
    spawn::adopt_main();
    idle::init_boot_cpu().map_err(SpawnError::OutOfMemory)?;
    reaper::init()?;
    grace::init()?;
    timer::start();
    Ok(())
}

/// Makes a normal thread, which may run on any CPU, that runs `body` and ends with it.
///
/// # Errors
/// See [`SpawnError`]; `body` was dropped.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    Builder::new(name).spawn(body)
}

/// Whether the running code is in a thread that may wait: nothing is pinned, and interrupts are on.
pub fn may_block() -> bool {
    thread::try_current().is_some_and(|this| this.class != Class::Idle)
        && cpu::pins() == 0
        && x86_64::instructions::interrupts::are_enabled()
}

/// Lets others of the same class run first, if there are any in line for this CPU. Called in a thread
/// with nothing pinned.
pub fn yield_now() {
    scheduler::yield_now();
}

/// Switches to another thread if one wants the CPU. Called, with nothing pinned, in two places: when
/// the last pin goes, with interrupts on; and at the end of an interrupt that came while they were on,
/// with interrupts off, on the interrupted thread's stack, after its registers were saved there. In
/// that place it returns, with interrupts off, when the interrupted thread goes on.
#[cold]
pub fn preempt() {
    scheduler::preempt();
}

/// Called on every interrupt of a CPU's timer, with interrupts off and pinned.
pub fn on_timer() {
    let Some(this) = thread::try_current() else { return };
    let (cpu, now) = (cpu::current(), tsc::now());
    sleep::wake_until(cpu, now);
    if timer::take_tick(cpu, now) {
        on_tick(cpu, this);
    }
    timer::set(cpu);
}

fn on_tick(cpu: usize, this: thread::ThreadRef) {
    sections::follow_switch();
    // The one pin is the interrupt's.
    if cpu::pins() == 1 {
        grace::pass(cpu);
    }
    rcu::on_tick(cpu);
    if this.class == Class::Normal {
        let left = this.slice.load(Ordering::Relaxed).saturating_sub(1);
        this.slice.store(left, Ordering::Relaxed);
        if left == 0 && run_queue::of(cpu).ready() > 0 {
            cpu::want_switch();
        }
    }
}
