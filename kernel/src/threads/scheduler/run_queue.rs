//! The threads in line for each CPU.

use super::{
    list::{List, READY},
    thread::{Affinity, Class, ThreadRef},
};
use crate::{
    arch::{
        apic::{self, Vector},
        cpu::{self, MAX_CPUS, Pin},
    },
    lock_class,
    sync::IrqLock,
};
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The threads in line for one CPU. Those on it are in no line.
#[repr(align(128))]
pub(in crate::threads) struct RunQueue {
    lines: IrqLock<Lines>,
    /// How many stand in line, and how many of them may run elsewhere; for others to look at.
    ready: AtomicUsize,
    movable: AtomicUsize,
    /// Class of the thread that runs. Changed under the lock: who puts a thread in line learns from it
    /// whether the CPU must be told, and the CPU has either seen that thread or will be told.
    running: AtomicU8,
}

struct Lines {
    real_time: List<READY>,
    normal: List<READY>,
}

static QUEUES: [RunQueue; MAX_CPUS] = [const {
    RunQueue {
        lines: IrqLock::new(lock_class!("run queue"), Lines { real_time: List::new(), normal: List::new() }),
        ready: AtomicUsize::new(0),
        movable: AtomicUsize::new(0),
        running: AtomicU8::new(Class::Idle as u8),
    }
}; MAX_CPUS];

/// Where in its line a thread is put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::threads) enum End {
    /// It goes on next, having been interrupted.
    Front,
    /// Its turn is over, or it is new.
    Back,
}

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

/// A CPU that is to be told that a thread was put in line, if one is: it should not wait long.
#[must_use = "the CPU does not know of the thread"]
pub(in crate::threads) struct ToTell(Option<usize>);

impl ToTell {
    /// There is none.
    pub const NOBODY: Self = Self(None);

    /// Tells it.
    pub fn tell(self) {
        let pin = Pin::new();
        match self.0 {
            Some(cpu) if cpu == pin.cpu() => cpu::want_switch(),
            Some(cpu) => apic::send(cpu, Vector::Reschedule),
            None => {}
        }
    }
}

/// Puts a thread in line for a CPU, which the caller tells, if it must be told.
pub(in crate::threads) fn put_quietly(cpu: usize, thread: ThreadRef, end: End) -> ToTell {
    let queue = of(cpu);
    let goes_first = {
        let mut lines = queue.lines.lock();
        let line = lines.line(thread.class);
        match end {
            End::Front => line.push_front(thread),
            End::Back => line.push_back(thread),
        }
        queue.count(thread, 1);
        thread.class > queue.running()
    };
    ToTell(goes_first.then_some(cpu))
}

impl Lines {
    fn line(&mut self, class: Class) -> &mut List<READY> {
        match class {
            Class::RealTime => &mut self.real_time,
            Class::Normal | Class::Idle => &mut self.normal,
        }
    }
}

impl RunQueue {
    /// Takes the first thread of at least the class `least` out of this CPU's line: it runs next.
    /// `idle`: without one the CPU has nothing to run.
    pub fn take(&self, least: Class, idle: bool) -> Option<ThreadRef> {
        let mut lines = self.lines.lock();
        let mut next = lines.real_time.pop();
        if next.is_none() && least <= Class::Normal {
            next = lines.normal.pop();
        }
        match next {
            Some(next) => {
                self.count(next, -1);
                self.set_running(next.class);
            }
            None if idle => self.set_running(Class::Idle),
            None => {}
        }
        next
    }

    /// Takes a thread that another CPU, the one of this queue, has in line and that may run anywhere.
    pub fn steal(&self) -> Option<ThreadRef> {
        if self.movable.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut lines = self.lines.lock();
        let movable = |thread: ThreadRef| thread.affinity == Affinity::Any;
        let found = lines.real_time.remove_first(movable).or_else(|| lines.normal.remove_first(movable));
        if let Some(found) = found {
            self.count(found, -1);
        }
        found
    }

    /// How many threads stand in line.
    pub fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// The class of the running thread is now this one: it was not taken from this queue.
    pub fn set_running(&self, class: Class) {
        self.running.store(class as u8, Ordering::Relaxed);
    }

    fn running(&self) -> Class {
        Class::of(self.running.load(Ordering::Relaxed))
    }

    /// How long a new thread of `class` would wait here: threads before it.
    fn load(&self, class: Class) -> usize {
        /// A thread that goes strictly before may run for ever.
        const FOR_EVER: usize = 1 << 32;
        let running = self.running();
        self.ready() + usize::from(running >= class) + if running > class { FOR_EVER } else { 0 }
    }

    /// Changes the counts for a thread that came or went; under the lock.
    fn count(&self, thread: ThreadRef, by: isize) {
        let add = |to: &AtomicUsize| {
            to.store(to.load(Ordering::Relaxed).wrapping_add_signed(by), Ordering::Relaxed);
        };
        add(&self.ready);
        if thread.affinity == Affinity::Any {
            add(&self.movable);
        }
    }
}
