//! Lists of threads, linked through the threads: being in one needs no memory. And queues of threads that wait, which
//! [`waiting`](crate::threads::waiting) fills.

use super::thread::{Thread, ThreadRef};
use crate::{lock_class, sync::IrqLock};
use core::{
    ptr::null_mut,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

/// [`List`]s of threads in line for a CPU, or that ended.
pub(in crate::threads) const READY: usize = 0;
/// [`List`]s of threads that wait or sleep.
pub(in crate::threads) const WAITING: usize = 1;

/// A thread's place in the one list of a kind that it may be in. Changed under the lock of that list.
pub(in crate::threads) struct Link {
    next: AtomicPtr<Thread>,
    listed: AtomicBool,
}

impl Link {
    pub const fn new() -> Self {
        Self { next: AtomicPtr::new(null_mut()), listed: AtomicBool::new(false) }
    }
}

/// A list of threads, by their link of this kind.
pub(in crate::threads) struct List<const KIND: usize> {
    first: Option<ThreadRef>,
    last: Option<ThreadRef>,
}

impl<const KIND: usize> List<KIND> {
    pub const fn new() -> Self {
        Self { first: None, last: None }
    }

    pub fn first(&self) -> Option<ThreadRef> {
        self.first
    }

    /// Whether the thread is in the list of this kind that it may be in.
    pub fn has(thread: ThreadRef) -> bool {
        thread.links[KIND].listed.load(Ordering::Relaxed)
    }

    pub fn push_back(&mut self, thread: ThreadRef) {
        self.insert(self.last, thread);
    }

    pub fn push_front(&mut self, thread: ThreadRef) {
        self.insert(None, thread);
    }

    /// Adds a thread behind all for which `before` holds, which are the first ones.
    pub fn insert_sorted(&mut self, thread: ThreadRef, before: impl Fn(ThreadRef) -> bool) {
        let last = self.iter().take_while(|&other| before(other)).last();
        self.insert(last, thread);
    }

    pub fn pop(&mut self) -> Option<ThreadRef> {
        self.remove_first(|_| true)
    }

    /// Takes out the first thread for which `wanted` holds.
    pub fn remove_first(&mut self, wanted: impl Fn(ThreadRef) -> bool) -> Option<ThreadRef> {
        let mut before = None;
        let mut at = self.first;
        while let Some(thread) = at {
            let next = Self::next(thread);
            if wanted(thread) {
                self.link(before, next);
                thread.links[KIND].listed.store(false, Ordering::Relaxed);
                return Some(thread);
            }
            (before, at) = (at, next);
        }
        None
    }

    fn iter(&self) -> impl Iterator<Item = ThreadRef> {
        core::iter::successors(self.first, |&thread| Self::next(thread))
    }

    fn next(thread: ThreadRef) -> Option<ThreadRef> {
        ThreadRef::from_pointer(thread.links[KIND].next.load(Ordering::Relaxed))
    }

    fn insert(&mut self, before: Option<ThreadRef>, thread: ThreadRef) {
        debug_assert!(!Self::has(thread), "{} is in a list already", thread.name.as_str());
        let next = before.map_or(self.first, Self::next);
        thread.links[KIND].listed.store(true, Ordering::Relaxed);
        self.link(before, Some(thread));
        self.link(Some(thread), next);
    }

    /// Makes `after` follow `before`; `None` is the list's head, and its end.
    fn link(&mut self, before: Option<ThreadRef>, after: Option<ThreadRef>) {
        match before {
            Some(before) => {
                let next = after.map_or(null_mut(), ThreadRef::pointer);
                before.links[KIND].next.store(next, Ordering::Relaxed);
            }
            None => self.first = after,
        }
        if after.is_none() {
            self.last = before;
        }
    }
}

/// Threads that wait for something that others make true. Whoever does so calls
/// [`wake_all`](Self::wake_all) afterwards.
pub struct WaitQueue(pub(in crate::threads) Waiting);

/// The threads in a [`WaitQueue`], which they are added to in [`waiting`](crate::threads::waiting).
pub(in crate::threads) struct Waiting(pub IrqLock<List<WAITING>>);

impl WaitQueue {
    /// Nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Self(Waiting(IrqLock::new(lock_class!("wait queue"), List::new())))
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}
