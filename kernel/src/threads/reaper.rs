//! The end of threads: nobody can give back the stack it runs on, so another thread does.

use super::{
    scheduler::ended::{self, ENDED},
    spawn::{Builder, SpawnError},
    waiting::context::assert_may_block,
};
use core::sync::atomic::Ordering;

/// Makes the thread that this is all about.
///
/// # Errors
/// No memory for it.
pub(super) fn init() -> Result<(), SpawnError> {
    Builder::new("reaper").spawn(run).map(drop)
}

fn run() {
    loop {
        ENDED.serve(|thread| {
            let stack = thread.own_stack.lock().take();
            drop(stack);
            ended::gone();
            // Release: who sees it also sees all that the thread did.
            thread.gone.store(true, Ordering::Release);
            thread.joiners.wake_all();
            // SAFETY: `spawn` keeps all threads that end; it was in no list but the one of the ended.
            unsafe { thread.release() };
        });
    }
}

/// Waits until all threads that ended have given everything back, those too that nobody joins.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn settle() {
    assert_may_block("settle");
    ENDED.settle();
}
