//! Preemptive kernel threads.
//!
//! | file | what |
//! |---|---|
//! | `thread`, `list` | a thread, and lists of threads |
//! | `run_queue`, `scheduler`, `switch` | who runs where, and going from one to the other |
//! | `spawn`, `reaper` | how threads begin and end |
//! | `wait`, `sleep`, `idle` | waiting for something, for a time, for anything |
//! | `timer` | ticks, and when sleepers wake |
//! | `grace` | waiting for readers that take no lock |
//!
//! A new thread, or one that was woken, goes to the least busy CPU; a CPU that has nothing to do takes
//! threads that stand in line elsewhere, at once and at each tick. Threads of one class take turns on a
//! CPU, but none of the normal class runs where one of the real-time class wants to. Isolated CPUs run
//! what asked for them, and nothing else.
//!
//! | call | may be made |
//! |---|---|
//! | [`WaitQueue::wake_all`], [`Handle::unpark`], [`grace::defer`] | anywhere, in interrupt handlers too |
//! | [`spawn()`], [`Builder::spawn`], [`grace::defer_closure`], [`current`] | in threads, pinned or not (where there is no memory `defer_closure` waits) |
//! | all that waits: [`sleep()`], [`park`], [`yield_now`], [`JoinHandle::join`], [`WaitQueue::wait_until`], [`settle`], [`grace::synchronize`], [`grace::barrier`] | in threads, with nothing pinned and interrupts on |
//!
//! What may not be made is refused by a panic that names the call: see [`assert_may_block`].

pub mod grace;
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

pub(crate) use idle::run_cpu;
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
pub(crate) fn init() -> Result<(), SpawnError> {
    spawn::adopt_main();
    idle::init_boot_cpu().map_err(SpawnError::OutOfMemory)?;
    reaper::init()?;
    grace::init()?;
    timer::start();
    Ok(())
}

/// Makes a normal thread, which may run on any CPU, that runs `body` and ends with it. Called in a thread, pinned or not.
///
/// # Errors
/// See [`SpawnError`]; `body` was dropped.
///
/// # Panics
/// In an interrupt handler.
#[track_caller]
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

/// Refuses a call that may have to wait, whether or not it would, to who may not: see [`may_block`].
///
/// # Panics
/// In an interrupt handler, with something pinned, with interrupts off, in an idle thread, and before there are
/// threads. The message names `call` and the reason.
#[inline]
#[track_caller]
pub fn assert_may_block(call: &str) {
    if !may_block() {
        refuse_to_block(call);
    }
}

#[cold]
#[track_caller]
fn refuse_to_block(call: &str) -> ! {
    let why = match thread::try_current() {
        None => "before there are threads",
        Some(_) if cpu::in_interrupt() => "in an interrupt handler",
        Some(_) if cpu::pins() > 0 => "with the CPU pinned",
        Some(_) if !x86_64::instructions::interrupts::are_enabled() => "with interrupts off",
        Some(_) => "in an idle thread",
    };
    panic!("{call} {why}: it may have to wait");
}

/// Lets others of the same class run first, if there are any in line for this CPU.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn yield_now() {
    assert_may_block("yield_now");
    scheduler::yield_now();
}

/// Switches to another thread if one wants the CPU. Called, with nothing pinned, in two places: when
/// the last pin goes, with interrupts on; and at the end of an interrupt that came while they were on,
/// with interrupts off, on the interrupted thread's stack, after its registers were saved there. In
/// that place it returns, with interrupts off, when the interrupted thread goes on.
#[cold]
pub(crate) fn preempt() {
    scheduler::preempt();
}

/// Called on every interrupt of a CPU's timer, with interrupts off and pinned.
pub(crate) fn on_timer() {
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
