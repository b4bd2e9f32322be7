//! The end of threads: nobody can give back the stack it runs on, so another thread does.

use super::{
    SpawnError,
    list::{List, READY},
    spawn::Builder,
    thread::ThreadRef,
    wait::WaitQueue,
};
use crate::{lock_class, sync::IrqLock};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Ended threads, on whose stacks nothing runs any more.
static ENDED: IrqLock<List<READY>> = IrqLock::new(lock_class!("ended threads"), List::new());
static WORK: WaitQueue = WaitQueue::new();
/// Threads spawned and not gone yet.
static LIVING: AtomicUsize = AtomicUsize::new(0);
/// Threads that ended and are not gone yet.
static UNBURIED: AtomicUsize = AtomicUsize::new(0);
static SETTLED: WaitQueue = WaitQueue::new();

/// Makes the thread that this is all about.
///
/// # Errors
/// No memory for it.
pub(super) fn init() -> Result<(), SpawnError> {
    Builder::new("reaper").spawn(run).map(drop)
}

/// A thread was spawned.
pub(super) fn born() {
    LIVING.fetch_add(1, Ordering::Relaxed);
}

/// Takes over a thread that ended, when its stack was left.
pub(super) fn bury(thread: ThreadRef) {
    ENDED.lock().push_back(thread);
    UNBURIED.fetch_add(1, Ordering::Relaxed);
    WORK.wake_all();
}

fn run() {
    loop {
        WORK.wait_until(|| UNBURIED.load(Ordering::Relaxed) != 0);
        loop {
            let Some(thread) = ENDED.lock().pop() else { break };
            let stack = thread.own_stack.lock().take();
            drop(stack);
            LIVING.fetch_sub(1, Ordering::Relaxed);
            // Release: who sees it also sees all that the thread did.
            thread.gone.store(true, Ordering::Release);
            thread.joiners.wake_all();
            // SAFETY: `spawn` keeps all threads that end; it was in no list but the one of the ended.
            unsafe { thread.release() };
            UNBURIED.fetch_sub(1, Ordering::Relaxed);
            SETTLED.wake_all();
        }
    }
}

/// Threads spawned whose stacks were not given back yet.
pub fn living() -> usize {
    LIVING.load(Ordering::Relaxed)
}

/// Waits until all threads that ended have given everything back, those too that nobody joins.
pub fn settle() {
    SETTLED.wait_until(|| UNBURIED.load(Ordering::Relaxed) == 0);
}
