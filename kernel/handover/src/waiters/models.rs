//! Models of threads that wait in a queue, and of those who wake them, in every interleaving.

extern crate std;

use super::{Line, Waiters};
use crate::{State, Wait, models::explore};
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use std::vec::Vec;

/// A thread, and a line for a CPU that has room for it once.
struct Thread {
    state: State,
    /// What its registers are saved in; no more than written before it is blocked, and read when it goes on.
    saved: AtomicUsize,
    /// Whether it is in line.
    line: Mutex<bool>,
    put: Condvar,
    /// Looked at by who wakes it, and written when it ends.
    life: UnsafeCell<bool>,
}

impl Thread {
    fn new() -> Self {
        Self {
            state: State::new(),
            saved: AtomicUsize::new(0),
            line: Mutex::new(false),
            put: Condvar::new(),
            life: UnsafeCell::new(true),
        }
    }

    fn put_in_line(&self) {
        assert_ne!(self.saved.load(Ordering::Relaxed), 0, "its registers are not saved");
        let mut line = self.line.lock().expect("no panic");
        assert!(!*line, "it is in line twice");
        *line = true;
        self.put.notify_one();
    }

    fn wake(&self) {
        // SAFETY: loom finds out whether it ends meanwhile.
        self.life.with(|alive| assert!(unsafe { *alive }, "it has ended"));
        if self.state.wake() {
            self.put_in_line();
        }
    }

    /// What the scheduler does with a thread that waits: another stack is the CPU's until it is in line again.
    fn block(&self) {
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

    fn end(&self) {
        // SAFETY: loom finds out whether another one looks at it meanwhile.
        self.life.with_mut(|alive| unsafe { *alive = false });
    }
}

/// The numbers of the threads in a queue.
#[derive(Default)]
struct Numbers(Vec<usize>);

impl Line for Numbers {
    type Thread = usize;

    fn has(&self, thread: usize) -> bool {
        self.0.contains(&thread)
    }

    fn add(&mut self, thread: usize) {
        assert!(!self.has(thread), "it is in the queue twice");
        self.0.push(thread);
    }

    fn remove(&mut self, thread: usize) {
        assert!(self.has(thread), "it is not in the queue");
        self.0.retain(|&other| other != thread);
    }

    fn pop(&mut self) -> Option<usize> {
        self.0.pop()
    }
}

struct Kernel {
    threads: Vec<Thread>,
    queue: Mutex<Numbers>,
    ready: Vec<AtomicBool>,
}

/// The kernel, as one of its threads, or who is none, sees it.
#[derive(Clone)]
struct Seen {
    kernel: Arc<Kernel>,
    current: usize,
}

impl Seen {
    fn new(threads: usize, ready: usize) -> Self {
        let kernel = Kernel {
            threads: (0..threads).map(|_| Thread::new()).collect(),
            queue: Mutex::new(Numbers::default()),
            ready: (0..ready).map(|_| AtomicBool::new(false)).collect(),
        };
        Self { kernel: Arc::new(kernel), current: 0 }
    }

    /// Has another thread do something.
    fn spawn(
        &self,
        current: usize,
        act: impl FnOnce(&Self) + Send + Sync + 'static,
    ) -> thread::JoinHandle<()> {
        let seen = Self { current, ..self.clone() };
        thread::spawn(move || act(&seen))
    }

    fn thread(&self) -> &Thread {
        &self.kernel.threads[self.current]
    }

    /// Makes one thing true that others wait for.
    fn make_ready(&self, number: usize) {
        self.kernel.ready[number].store(true, Ordering::Relaxed);
        self.wake_all();
    }

    fn wait_for(&self, number: usize) {
        let is_ready = || self.kernel.ready[number].load(Ordering::Relaxed);
        self.wait_until(is_ready);
        assert!(is_ready(), "it did not wait");
    }
}

impl Waiters for Seen {
    type Line = Numbers;

    fn locked<T>(&self, act: impl FnOnce(&mut Numbers) -> T) -> T {
        act(&mut self.kernel.queue.lock().expect("no panic"))
    }

    fn current(&self) -> usize {
        self.current
    }

    fn block(&self) {
        self.thread().block();
    }

    fn wake(&self, thread: usize) {
        self.kernel.threads[thread].wake();
    }
}

/// A wake is taken once, whether or not the thread had left its CPU.
///
/// Seen failing with a thread that goes on as if it was woken once more, and with a wake that is not taken.
#[test]
fn a_wake_counts_once() {
    explore(0, || {
        let state = State::new();
        assert!(!state.take_wake(), "nobody woke it");
        assert!(!state.wake(), "it runs");
        assert!(state.take_wake() && !state.take_wake());
        assert!(state.block() && state.wake(), "it is in no line");
        state.go_on();
        assert!(!state.take_wake(), "it went on by that one");
        assert!(!state.wake() && !state.block(), "it has not left yet");
    });
}

/// A thread waits for what two others make true, one after the other has or at once: it is woken, and in line once at a
/// time. Three preemptions.
///
/// Seen failing (a deadlock) with a `wake` that leaves a thread alone that runs, and with one that asks and then stores; (its
/// registers are not saved) with a relaxed `block`, and with a `wake` that does not acquire.
#[test]
fn no_wake_is_lost_and_none_counts_twice() {
    explore(3, || {
        let seen = Seen::new(1, 2);
        let wakers = [0, 1].map(|number| seen.spawn(0, move |seen| seen.make_ready(number)));
        let are_ready = || seen.kernel.ready.iter().all(|ready| ready.load(Ordering::Relaxed));
        seen.wait_until(are_ready);
        assert!(are_ready(), "it did not wait");
        wakers.into_iter().for_each(|waker| waker.join().expect("as it should be"));
    });
}

/// A thread waits for one thing, and one for another, in the same queue. Each ends when its own is there. Two preemptions.
///
/// Seen failing (a deadlock) with a `wake_all` that wakes one of them.
#[test]
fn who_waits_for_something_else_goes_on_waiting() {
    explore(2, || {
        let seen = Seen::new(2, 2);
        let other = seen.spawn(1, |seen| {
            seen.wait_for(1);
            seen.thread().end();
        });
        let waker = seen.spawn(0, |seen| [0, 1].into_iter().for_each(|number| seen.make_ready(number)));
        seen.wait_for(0);
        seen.thread().end();
        [other, waker].into_iter().for_each(|thread| thread.join().expect("as it should be"));
    });
}

/// A thread that waits is woken for another reason too, so it may find by itself what it waits for, and end: who wakes all
/// looks at none that has ended. Three preemptions.
///
/// Seen failing (it has ended) with a thread that does not leave the queue, and with a `wake_all` that opens the lock before
/// it wakes.
#[test]
fn nobody_wakes_a_thread_that_has_ended() {
    explore(3, || {
        let seen = Seen::new(1, 1);
        let waker = seen.spawn(0, |seen| seen.make_ready(0));
        let other = seen.spawn(0, |seen| {
            // It has a handle, which keeps what is left of the thread.
            if seen.thread().state.wake() {
                seen.thread().put_in_line();
            }
        });
        seen.wait_for(0);
        seen.thread().end();
        [waker, other].into_iter().for_each(|thread| thread.join().expect("as it should be"));
    });
}

/// A thread is woken by two others in no queue, as a sleeper is by its timer and by who ends its sleep. Three preemptions.
///
/// Seen failing (a deadlock) with a `block` that stores, with a `wake` that asks and then stores, and with a relaxed
/// `take_wake`.
#[test]
fn of_two_who_wake_one_puts_it_in_line() {
    explore(3, || {
        let seen = Seen::new(1, 2);
        let wakers = [0, 1].map(|number| {
            seen.spawn(0, move |seen| {
                seen.kernel.ready[number].store(true, Ordering::Release);
                seen.wake(0);
            })
        });
        while !seen.kernel.ready.iter().all(|ready| ready.load(Ordering::Acquire)) {
            seen.block();
        }
        wakers.into_iter().for_each(|waker| waker.join().expect("as it should be"));
    });
}
