//! Waiting in a queue of threads: who makes something true wakes all who wait for it, and none of them is forgotten.

use crate::Wait;

/// The threads in a queue, for who has its lock.
pub trait Line {
    /// A thread.
    type Thread: Copy;

    /// Returns whether a thread is in it.
    fn has(&self, thread: Self::Thread) -> bool;

    /// Puts a thread into it that is in none.
    fn add(&mut self, thread: Self::Thread);

    /// Takes a thread out that is in it.
    fn remove(&mut self, thread: Self::Thread);

    /// Takes a thread out; `None` if there is none.
    fn pop(&mut self) -> Option<Self::Thread>;
}

/// A queue of threads that wait, under a lock. It is all that [`Wait`] needs.
pub trait Waiters {
    /// The threads in it.
    type Line: Line;

    /// Calls `act` under the lock.
    #[track_caller]
    fn locked<T>(&self, act: impl FnOnce(&mut Self::Line) -> T) -> T;

    /// Returns the thread that runs.
    fn current(&self) -> <Self::Line as Line>::Thread;

    /// Waits until this thread is woken; returns at once if it was since the last call, and at times for no reason.
    fn block(&self);

    /// Wakes a thread, under the lock.
    fn wake(&self, thread: <Self::Line as Line>::Thread);
}

impl<W: Waiters> Wait for W {
    #[track_caller]
    fn wait_until(&self, mut ready: impl FnMut() -> bool) {
        let this = self.current();
        // Who makes it true takes this lock afterwards: either `ready` sees it, or this thread is seen in the line.
        while !self.locked(|line| {
            let ready = ready();
            match (ready, line.has(this)) {
                (true, true) => line.remove(this),
                (false, false) => line.add(this),
                _ => {}
            }
            ready
        }) {
            self.block();
        }
    }

    #[track_caller]
    fn wake_all(&self) {
        // Under the lock: a thread taken out of the line cannot return, and end, before it has the lock.
        self.locked(|line| {
            while let Some(thread) = line.pop() {
                self.wake(thread);
            }
        });
    }
}

#[cfg(all(test, loom))]
mod models;
