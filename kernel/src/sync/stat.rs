//! Statistics of locks, by class: how often they are taken and waited for, and how long that takes. `lockinfo` shows them.
//!
//! Off, as at boot, they cost nothing but a branch where somebody waits. On, who waits reads the clock twice. How often
//! locks are taken, and how long they are held, is counted only in builds that follow each lock: debug builds, and those
//! with the feature `lock-stat`, because everybody who takes a lock would pay for the question whether to count.
//!
//! Counts are of all CPUs together, so counting moves cache lines between them.

use super::class::{self, Class};
use crate::arch::{
    cpu::{self, MAX_CPUS},
    tsc,
};
use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};
use x86_64::instructions::interrupts;

/// Whether this build follows each lock that is taken.
pub const FOLLOWED: bool = cfg!(any(debug_assertions, feature = "lock-stat"));

/// Locks that are followed on one CPU at once; more are not.
const MOST: usize = 16;

static SWITCH: AtomicUsize = AtomicUsize::new(0);

/// Whether locks are counted: 0 or 1.
pub fn switch() -> &'static AtomicUsize {
    &SWITCH
}

fn is_on() -> bool {
    SWITCH.load(Ordering::Relaxed) != 0
}

/// What was counted of a class.
#[derive(Debug)]
pub(super) struct Counts {
    taken: AtomicU64,
    waits: AtomicU64,
    waited: AtomicU64,
    longest_wait: AtomicU64,
    longest_hold: AtomicU64,
}

/// What was counted of a class since the last [`reset`], in cycles of the time stamp counter where it is time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The class's name.
    pub name: &'static str,
    /// Times that one of its locks was taken; 0 where locks are not [followed](FOLLOWED).
    pub taken: u64,
    /// Times that somebody had to wait for one.
    pub waits: u64,
    /// All that waiting.
    pub waited: u64,
    /// The longest wait.
    pub longest_wait: u64,
    /// The longest time that one was held; 0 where locks are not [followed](FOLLOWED).
    pub longest_hold: u64,
}

impl Counts {
    pub const fn new() -> Self {
        Self {
            taken: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            longest_wait: AtomicU64::new(0),
            longest_hold: AtomicU64::new(0),
        }
    }
}

/// What was counted, of each class that was counted ever since boot.
pub fn counted() -> impl Iterator<Item = Counted> {
    class::listed().map(|class| {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { taken, waits, waited, longest_wait, longest_hold } = &class.counts;
        Counted {
            name: class.name(),
            taken: of(taken),
            waits: of(waits),
            waited: of(waited),
            longest_wait: of(longest_wait),
            longest_hold: of(longest_hold),
        }
    })
}

/// Counts from 0 again.
pub fn reset() {
    for class in class::listed() {
        let Counts { taken, waits, waited, longest_wait, longest_hold } = &class.counts;
        for count in [taken, waits, waited, longest_wait, longest_hold] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// Calls `wait`, which waits for a lock of the class, with preemption off; counts how long that takes.
pub(super) fn wait<R>(class: &'static Class, wait: impl FnOnce() -> R) -> R {
    if !is_on() {
        return wait();
    }
    let start = tsc::now();
    let result = wait();
    let now = tsc::now();
    let cycles = now.saturating_sub(start);
    class.list();
    class.counts.waits.fetch_add(1, Ordering::Relaxed);
    class.counts.waited.fetch_add(cycles, Ordering::Relaxed);
    class.counts.longest_wait.fetch_max(cycles, Ordering::Relaxed);
    if FOLLOWED {
        // It is held from now on.
        held(|held| held.last_since(class, now));
    }
    result
}

/// Notes that a lock of the class is about to be taken, with preemption off. Where locks are followed.
pub(super) fn acquiring(class: &'static Class) {
    if is_on() {
        class.list();
        class.counts.taken.fetch_add(1, Ordering::Relaxed);
        let now = tsc::now();
        held(|held| held.push(class, now));
    }
}

/// Notes that a lock of the class was opened, with preemption still off. Where locks are followed.
pub(super) fn released(class: &'static Class) {
    // Also of what was taken before counting was turned off.
    if let Some(since) = held(|held| held.remove(class)) {
        let cycles = tsc::now().saturating_sub(since);
        class.counts.longest_hold.fetch_max(cycles, Ordering::Relaxed);
    }
}

/// The locks that a CPU holds and that are followed, those of an interrupt handler behind those of what it interrupted.
struct Held {
    locks: [Option<(&'static Class, u64)>; MOST],
    count: usize,
}

impl Held {
    fn push(&mut self, class: &'static Class, since: u64) {
        if let Some(room) = self.locks.get_mut(self.count) {
            *room = Some((class, since));
            self.count += 1;
        }
    }

    /// The place of the lock of the class that was taken last.
    fn last(&self, class: &'static Class) -> Option<usize> {
        let is_it =
            |lock: &Option<(&'static Class, u64)>| lock.is_some_and(|(of, _)| core::ptr::eq(of, class));
        self.locks[..self.count].iter().rposition(is_it)
    }

    fn last_since(&mut self, class: &'static Class, now: u64) {
        if let Some(last) = self.last(class) {
            self.locks[last] = Some((class, now));
        }
    }

    /// Forgets the lock of the class that was taken last: since when it was held.
    fn remove(&mut self, class: &'static Class) -> Option<u64> {
        let last = self.last(class)?;
        let (_, since) = self.locks[last]?;
        self.locks[last..self.count].rotate_left(1);
        self.count -= 1;
        Some(since)
    }
}

#[repr(align(64))]
struct PerCpu(UnsafeCell<Held>);

// SAFETY: each is used by its own CPU only, with interrupts off: see `held`.
unsafe impl Sync for PerCpu {}

static HELD: [PerCpu; if FOLLOWED { MAX_CPUS } else { 0 }] = [const {
    PerCpu(UnsafeCell::new(Held { locks: [None; MOST], count: 0 }))
}; if FOLLOWED { MAX_CPUS } else { 0 }];

/// Uses what this CPU holds. `change` takes no lock, and so does not come back here.
fn held<R>(change: impl FnOnce(&mut Held) -> R) -> R {
    interrupts::without_interrupts(|| {
        // SAFETY: the CPU's own, and nothing else runs on it before this ends.
        change(unsafe { &mut *HELD[cpu::current()].0.get() })
    })
}
