//! The run queue of each CPU, which of them a thread is put into, and telling the CPU of it.

use super::{
    list::{List, READY},
    thread::{Affinity, ThreadRef},
};
use crate::{
    arch::{
        apic::{self, Vector},
        cpu::{self, MAX_CPUS, Pin},
    },
    lock_class,
    sync::IrqLock,
};
use core::sync::atomic::Ordering;
use handover::{Class, End, Lines, Row, Rows, Runnable};

/// The threads in line for a CPU.
pub(in crate::threads) type RunQueue = handover::RunQueue<Locked>;

/// The lines of a CPU.
pub(in crate::threads) struct Locked(IrqLock<Rows<List<READY>>>);

static QUEUES: [RunQueue; MAX_CPUS] = [const {
    let rows = Rows { real_time: List::new(), normal: List::new() };
    RunQueue::new(Locked(IrqLock::new(lock_class!("run queue"), rows)))
}; MAX_CPUS];

/// The queue of a CPU.
pub(in crate::threads) fn of(cpu: usize) -> &'static RunQueue {
    &QUEUES[cpu]
}

/// A CPU for a thread: the least busy of those it may run on; of several, the one it ran on last.
pub(in crate::threads) fn place(thread: ThreadRef) -> usize {
    let last = match thread.affinity {
        Affinity::One(cpu) => return cpu,
        Affinity::Any => thread.cpu.load(Ordering::Relaxed),
    };
    let allowed = cpu::online().without(cpu::isolated());
    let cost = |&cpu: &usize| (of(cpu).load(thread.class), cpu != last);
    allowed.iter().min_by_key(cost).unwrap_or(0)
}

/// Puts a thread in line for a CPU, and tells the CPU if the thread goes before the one that runs there.
pub(in crate::threads) fn put(cpu: usize, thread: ThreadRef, end: End) {
    put_quietly(cpu, thread, end).tell();
}

/// A CPU that is to be told that a thread was put in line, if one is. The caller is pinned until it has told it: a thread
/// that preempted the caller would keep the one in line waiting, too.
#[must_use = "the CPU does not know of the thread"]
pub(in crate::threads) struct ToTell(Option<(usize, Pin)>);

impl ToTell {
    /// There is none.
    pub const NOBODY: Self = Self(None);

    /// Tells it.
    pub fn tell(self) {
        match self.0 {
            Some((cpu, pin)) if cpu == pin.cpu() => cpu::want_switch(),
            Some((cpu, _pin)) => apic::send(cpu, Vector::Reschedule),
            None => {}
        }
    }
}

/// Puts a thread in line for a CPU, which the caller tells, if it must be told.
pub(in crate::threads) fn put_quietly(cpu: usize, thread: ThreadRef, end: End) -> ToTell {
    let pin = Pin::new();
    let goes_first = of(cpu).put(thread, end);
    ToTell(goes_first.then_some((cpu, pin)))
}

impl Lines for Locked {
    type Row = List<READY>;

    #[track_caller]
    fn locked<T>(&self, act: impl FnOnce(&mut Rows<List<READY>>) -> T) -> T {
        act(&mut self.0.lock())
    }
}

impl Row for List<READY> {
    type Thread = ThreadRef;

    fn put(&mut self, thread: ThreadRef, end: End) {
        match end {
            End::Front => self.push_front(thread),
            End::Back => self.push_back(thread),
        }
    }

    fn take(&mut self, wanted: impl Fn(ThreadRef) -> bool) -> Option<ThreadRef> {
        self.remove_first(wanted)
    }
}

impl Runnable for ThreadRef {
    fn class(&self) -> Class {
        self.class
    }

    fn is_movable(&self) -> bool {
        self.affinity == Affinity::Any
    }
}
