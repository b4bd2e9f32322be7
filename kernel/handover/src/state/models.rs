//! Models of a thread that waits in a queue of the kernel's, and of those who wake it, in every interleaving.

extern crate std;

use super::State;
use crate::models::explore;
use loom::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use std::vec::Vec;

/// One thread, a line for a CPU that has room for it once, and a queue of those that wait.
struct Kernel {
    state: State,
    /// What its registers are saved in; no more than written before it is blocked, and read when it goes on.
    saved: AtomicUsize,
    /// Whether it is in line.
    line: Mutex<bool>,
    put: Condvar,
    /// Whether it is in the queue.
    waiting: Mutex<bool>,
    ready: Vec<AtomicBool>,
}

impl Kernel {
    fn new(wakers: usize) -> Arc<Self> {
        Arc::new(Self {
            state: State::new(),
            saved: AtomicUsize::new(0),
            line: Mutex::new(false),
            put: Condvar::new(),
            waiting: Mutex::new(false),
            ready: (0..wakers).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    fn put_in_line(&self) {
        assert_ne!(self.saved.load(Ordering::Relaxed), 0, "its registers are not saved");
        let mut line = self.line.lock().expect("no panic");
        assert!(!*line, "it is in line twice");
        *line = true;
        self.put.notify_one();
    }

    /// What the scheduler does with a thread that waits: another stack is the CPU's until it is in line again.
    fn wait(&self) {
        if self.state.take_wake() {
            return;
        }
        self.saved.store(1, Ordering::Relaxed);
        if !self.state.block() {
            self.put_in_line();
        }
        let mut line = self.line.lock().expect("no panic");
        while !*line {
            line = self.put.wait(line).expect("no panic");
        }
        *line = false;
        drop(line);
        self.saved.store(0, Ordering::Relaxed);
        self.state.go_on();
    }

    /// As the kernel's `WaitQueue` waits: asked under its lock.
    fn wait_until(&self, ready: impl Fn() -> bool) {
        loop {
            {
                let mut waiting = self.waiting.lock().expect("no panic");
                *waiting = !ready();
                if !*waiting {
                    return;
                }
            }
            self.wait();
        }
    }

    fn wake_all(&self) {
        let mut waiting = self.waiting.lock().expect("no panic");
        if core::mem::take(&mut *waiting) && self.state.wake() {
            self.put_in_line();
        }
    }
}

/// A thread waits for what two others make true, one after the other has or at once: it is woken, and in line once at a
/// time. Three preemptions.
///
/// Seen failing (a deadlock) with a `wake` that leaves a thread alone that runs, and with one that asks and then stores; (its
/// registers are not saved) with a relaxed `block`, and with a `wake` that does not acquire.
#[test]
fn no_wake_is_lost_and_none_counts_twice() {
    explore(3, || {
        let kernel = Kernel::new(2);
        let wakers = [0, 1].map(|number| {
            let kernel = Arc::clone(&kernel);
            thread::spawn(move || {
                kernel.ready[number].store(true, Ordering::Relaxed);
                kernel.wake_all();
            })
        });
        kernel.wait_until(|| kernel.ready.iter().all(|ready| ready.load(Ordering::Relaxed)));
        wakers.into_iter().for_each(|waker| waker.join().expect("as it should be"));
    });
}

/// A thread is woken by two others in no queue, as a sleeper is by its timer and by who ends its sleep. Three preemptions.
///
/// Seen failing (a deadlock) with a `block` that stores, with a `wake` that asks and then stores, and with a relaxed
/// `take_wake`.
#[test]
fn of_two_who_wake_one_puts_it_in_line() {
    explore(3, || {
        let kernel = Kernel::new(2);
        let wakers = [0, 1].map(|number| {
            let kernel = Arc::clone(&kernel);
            thread::spawn(move || {
                kernel.ready[number].store(true, Ordering::Release);
                if kernel.state.wake() {
                    kernel.put_in_line();
                }
            })
        });
        while !kernel.ready.iter().all(|ready| ready.load(Ordering::Acquire)) {
            kernel.wait();
        }
        wakers.into_iter().for_each(|waker| waker.join().expect("as it should be"));
    });
}
