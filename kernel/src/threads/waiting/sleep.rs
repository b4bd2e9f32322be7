//! Sleeping: each CPU's timer wakes those who fell asleep on it.

use super::{
    context::{assert_may_block, may_block},
    timer,
};
use crate::{
    arch::{
        cpu::{MAX_CPUS, Pin},
        tsc,
    },
    lock_class,
    sync::IrqLock,
    threads::scheduler::{
        list::{List, WAITING},
        run_queue::ToTell,
        schedule, thread, wake,
    },
};
use core::sync::atomic::{AtomicU64, Ordering};

/// Threads that sleep, those first who wake first.
#[repr(align(64))]
struct Sleepers {
    list: IrqLock<List<WAITING>>,
    /// When the first wakes; written under the lock, read by the CPU's timer interrupt.
    first: AtomicU64,
}

const NEVER: u64 = u64::MAX;

static SLEEPERS: [Sleepers; MAX_CPUS] = [const {
    Sleepers { list: IrqLock::new(lock_class!("sleepers"), List::new()), first: AtomicU64::new(NEVER) }
}; MAX_CPUS];

impl Sleepers {
    fn update(&self, list: &List<WAITING>) {
        let first = list.first().map_or(NEVER, |thread| thread.deadline.load(Ordering::Relaxed));
        self.first.store(first, Ordering::Relaxed);
    }
}

/// Waits for at least this many microseconds; then until the thread's turn comes.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn sleep(microseconds: u64) {
    sleep_until(tsc::now().saturating_add(tsc::cycles(microseconds)));
}

/// Waits as [`sleep`] does, if the caller may wait; answers whether it did.
pub(crate) fn try_sleep(microseconds: u64) -> bool {
    let may = may_block();
    if may {
        sleep(microseconds);
    }
    may
}

/// Waits until the time stamp counter has got to `deadline`, in cycles; then until the thread's turn comes.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn sleep_until(deadline: u64) {
    assert_may_block("sleep");
    if tsc::now() >= deadline {
        return;
    }
    let this = thread::current();
    this.deadline.store(deadline, Ordering::Relaxed);
    let sleepers = {
        // The timer that is set belongs to the CPU whose list it is.
        let pin = Pin::new();
        let sleepers = &SLEEPERS[pin.cpu()];
        let mut list = sleepers.list.lock();
        list.insert_sorted(this, |other| other.deadline.load(Ordering::Relaxed) <= deadline);
        if list.first() == Some(this) {
            sleepers.update(&list);
            timer::set(pin.cpu());
        }
        sleepers
    };
    loop {
        schedule::block();
        // Under the lock: who took this thread off the list is done with it.
        let _list = sleepers.list.lock();
        if !List::<WAITING>::has(this) {
            return;
        }
    }
}

/// When the first of those who sleep on a CPU wakes, in cycles; never is later than all.
pub(in crate::threads) fn first(cpu: usize) -> u64 {
    SLEEPERS[cpu].first.load(Ordering::Relaxed)
}

/// Wakes those whose time has come. Called on the CPU with interrupts off.
pub(in crate::threads) fn wake_until(cpu: usize, now: u64) {
    let sleepers = &SLEEPERS[cpu];
    if sleepers.first.load(Ordering::Relaxed) > now {
        return;
    }
    // Whoever wakes takes the lock next, so it is open before the CPU hears of it.
    while let Some(to_tell) = wake_first_until(sleepers, now) {
        to_tell.tell();
    }
}

/// Wakes the first of those who sleep if its time has come.
fn wake_first_until(sleepers: &Sleepers, now: u64) -> Option<ToTell> {
    let mut list = sleepers.list.lock();
    let thread = list.first().filter(|thread| thread.deadline.load(Ordering::Relaxed) <= now)?;
    list.pop();
    sleepers.update(&list);
    Some(wake::wake_quietly(thread))
}
