//! Preemptive kernel threads.
//!
//! | folder, file | what |
//! |---|---|
//! | `spawn`, `start`, `init` | making threads, and their first steps |
//! | `reaper` | giving back the stacks of those that ended |
//! | `grace` | waiting for readers that take no lock |
//! | `idle` | what a CPU does when there is nothing to do |
//! | `waiting` | waiting for something, for a time, for a turn; ticks |
//! | `scheduler` | a thread, and lists of threads; who runs where, and going from one to the other |
//! | `hooks` | what is asked of the rooms above |
//!
//! A new thread, or one that was woken, goes to the least busy CPU; a CPU that has nothing to do takes
//! threads that stand in line elsewhere, at once and at each tick. Threads of one class take turns on a
//! CPU, but none of the normal class runs where one of the real-time class wants to. Isolated CPUs run
//! what asked for them, and nothing else.
//!
//! | call | may be made |
//! |---|---|
//! | [`WaitQueue::wake_all`], [`Handle::unpark`] | anywhere, in interrupt handlers too |
//! | [`spawn()`], [`Builder::spawn`], [`current`] | in threads, pinned or not |
//! | all that waits: [`sleep()`], [`park`], [`yield_now`], [`JoinHandle::join`], [`WaitQueue::wait_until`], [`settle`], [`grace::synchronize`] | in threads, with nothing pinned and interrupts on |
//!
//! What may not be made is refused by a panic that names the call: see [`assert_may_block`].
//!
//! Locks: a wait queue's or a CPU's sleepers, then a run queue's; that of the ended threads, in no order with others. All
//! turn interrupts off. Those around a thread's stack, its start and its result turn preemption off, and nothing is taken
//! under them.

pub mod grace;
pub mod hooks;
mod idle;
mod init;
mod reaper;
mod scheduler;
mod spawn;
mod start;
mod waiting;

pub use handover::Class;
pub(crate) use idle::run_cpu;
pub(crate) use init::init;
pub use reaper::settle;
pub(crate) use scheduler::schedule::preempt;
pub use scheduler::{
    ended::living,
    list::WaitQueue,
    thread::{Affinity, current_id, current_name, current_tag},
};
pub use spawn::{Builder, Handle, JoinHandle, STACK, SpawnError, current, park, spawn};
pub use waiting::{
    context::{assert_may_block, may_block},
    profile,
    sleep::{sleep, sleep_until},
    timer::HERTZ,
    wait::yield_now,
};
pub(crate) use waiting::{sleep::try_sleep, tick::on_timer};
