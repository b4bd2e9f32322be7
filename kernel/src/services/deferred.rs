//! Calls that are made after a grace period, by the thread `grace`: Linux's `call_rcu`.
//!
//! [`defer`] may be called anywhere, in interrupt handlers and under locks too; [`defer_closure`] in threads; [`barrier`]
//! where the caller may wait. What waits is a list without a lock; waking the thread takes its wait queue's.

use crate::{
    memory::heap,
    threads::{Builder, SpawnError, WaitQueue, assert_may_block, grace::synchronize},
};
use alloc::alloc::dealloc;
use core::{
    alloc::Layout,
    mem::offset_of,
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

/// What is to be called after a grace period; to be embedded in what is freed then.
#[derive(Debug)]
pub struct Head {
    next: *mut Head,
    call: Option<unsafe fn(NonNull<Head>)>,
}

impl Head {
    /// Nothing is to be called.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: null_mut(), call: None }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

/// What waits for the next grace period, last first.
static DEFERRED: AtomicPtr<Head> = AtomicPtr::new(null_mut());
static WORK: WaitQueue = WaitQueue::new();

/// Has `call` called with `head`, in a kernel thread, after a grace period; in the order in which they
/// were deferred. From anywhere, even from interrupts and under locks. Never fails, never waits.
///
/// # Safety
/// `head` is the caller's, and nobody's but `call`'s from now on; it stays where it is until then.
/// `call` may be called with it, in another thread.
pub unsafe fn defer(head: NonNull<Head>, call: unsafe fn(NonNull<Head>)) {
    let mut next = DEFERRED.load(Ordering::Relaxed);
    loop {
        // SAFETY: the caller gave it away, and nobody else knows it yet.
        unsafe { head.write(Head { next, call: Some(call) }) };
        // Release: the thread sees the head, and all done before.
        match DEFERRED.compare_exchange_weak(next, head.as_ptr(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => break,
            Err(newer) => next = newer,
        }
    }
    // Who made the list begin wakes the thread, which takes all of it.
    if next.is_null() {
        WORK.wake_all();
    }
}

/// A closure with its head.
#[repr(C)]
struct Boxed<F> {
    head: Head,
    call: F,
}

/// Calls `call` after a grace period, as [`defer`] does, with memory of its own from the heap. Without
/// memory it waits for the grace period itself, and calls it at once.
///
/// # Panics
/// In an interrupt handler; without memory also if the caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn defer_closure<F: FnOnce() + Send + 'static>(call: F) {
    let layout = Layout::new::<Boxed<F>>();
    let Some(memory) = heap::alloc_now(layout) else {
        synchronize();
        return call();
    };
    let memory = memory.cast::<Boxed<F>>();
    unsafe fn run<F: FnOnce()>(head: NonNull<Head>) {
        let memory = head.cast::<Boxed<F>>();
        // SAFETY: it was written below, and is moved out once, before its memory goes.
        let boxed = unsafe { memory.read() };
        // SAFETY: allocated below with this layout.
        unsafe { dealloc(memory.cast().as_ptr(), Layout::new::<Boxed<F>>()) };
        (boxed.call)();
    }
    const { assert!(offset_of!(Boxed<F>, head) == 0) };
    // SAFETY: the memory is ours, for a value of this type; the head, at its start, goes to `run`.
    unsafe {
        memory.write(Boxed { head: Head::new(), call });
        defer(memory.cast(), run::<F>);
    }
}

/// Waits until everything is done that was deferred before the call.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn barrier() {
    assert_may_block("deferred::barrier");
    #[repr(C)]
    struct Mark {
        head: Head,
        done: AtomicBool,
    }
    static DONE: WaitQueue = WaitQueue::new();
    unsafe fn done(head: NonNull<Head>) {
        // SAFETY: `barrier` keeps its mark until this is set, and no longer.
        unsafe { (*head.cast::<Mark>().as_ptr()).done.store(true, Ordering::Release) };
        DONE.wake_all();
    }
    let mut mark = Mark { head: Head::new(), done: AtomicBool::new(false) };
    let mark = NonNull::from_mut(&mut mark);
    // SAFETY: this stays until `done` was called; it is not used again after it set the flag.
    unsafe { defer(mark.cast(), done) };
    // SAFETY: as above; only the flag is looked at.
    DONE.wait_until(|| unsafe { (*mark.as_ptr()).done.load(Ordering::Acquire) });
}

/// Makes the thread that calls what was deferred.
///
/// # Errors
/// No memory for it.
pub(super) fn init() -> Result<(), SpawnError> {
    Builder::new("grace").spawn(run).map(drop)
}

fn run() {
    loop {
        WORK.wait_until(|| !DEFERRED.load(Ordering::Relaxed).is_null());
        // Acquire: the heads are seen, and what was done before they were deferred.
        let mut last = DEFERRED.swap(null_mut(), Ordering::Acquire);
        let mut first = null_mut::<Head>();
        while let Some(head) = NonNull::new(last) {
            // SAFETY: what is in the list is its alone until it is called.
            last = unsafe { core::mem::replace(&mut (*head.as_ptr()).next, first) };
            first = head.as_ptr();
        }
        synchronize();
        while let Some(head) = NonNull::new(first) {
            // SAFETY: as above; it is read before the call, and never again.
            let Head { next, call } = unsafe { head.read() };
            first = next;
            if let Some(call) = call {
                // SAFETY: promised to `defer`; a grace period has passed.
                unsafe { call(head) };
            }
        }
    }
}
