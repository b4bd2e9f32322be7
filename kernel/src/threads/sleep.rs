//! Sleeping: each CPU wakes those who fell asleep on it, at its ticks.

use super::{
    list::{List, WAITING},
    scheduler, thread,
};
use crate::{
    arch::{
        cpu::{self, Pin},
        tsc,
    },
    lock_class,
    sync::IrqLock,
};
use core::sync::atomic::{AtomicU64, Ordering};
use vmalloc::{CpuPin, MAX_CPUS};

/// Threads that sleep, those first who wake first.
#[repr(align(64))]
struct Sleepers {
    list: IrqLock<List<WAITING>>,
    /// When the first wakes; written under the lock, read by the CPU's tick.
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

/// Waits for at least this many microseconds; up to a tick more, and until the thread's turn comes.
/// Called in a thread with nothing pinned.
pub fn sleep(microseconds: u64) {
    let this = thread::current();
    let deadline = tsc::now().saturating_add(tsc::cycles(microseconds));
    this.deadline.store(deadline, Ordering::Relaxed);
    let sleepers = &SLEEPERS[Pin::new().cpu()];
    {
        let mut list = sleepers.list.lock();
        list.insert_sorted(this, |other| other.deadline.load(Ordering::Relaxed) <= deadline);
        sleepers.update(&list);
    }
    loop {
        scheduler::block();
        // Under the lock: who took this thread off the list is done with it.
        let _list = sleepers.list.lock();
        if !List::<WAITING>::has(this) {
            return;
        }
    }
}

/// Wakes those whose time has come. Called on every tick of the CPU, with interrupts off.
pub(super) fn on_tick() {
    let sleepers = &SLEEPERS[cpu::current()];
    if sleepers.first.load(Ordering::Relaxed) == NEVER {
        return;
    }
    let now = tsc::now();
    if sleepers.first.load(Ordering::Relaxed) > now {
        return;
    }
    let mut list = sleepers.list.lock();
    while let Some(thread) = list.first().filter(|thread| thread.deadline.load(Ordering::Relaxed) <= now) {
        list.pop();
        scheduler::wake(thread);
    }
    sleepers.update(&list);
}
