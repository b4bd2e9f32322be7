//! Waking threads: in any context, under any lock but a run queue's, which it takes.

use super::{
    run_queue::{self, End, ToTell},
    thread::{BLOCKED, ThreadRef, WOKEN},
};
use core::sync::atomic::Ordering;

/// Wakes a thread: it goes on if it is blocked, else its next block returns at once. From anywhere, even
/// from interrupts.
pub(in crate::threads) fn wake(thread: ThreadRef) {
    wake_quietly(thread).tell();
}

/// Wakes a thread, for a caller who holds a lock that the thread takes next, and tells the CPU when it has opened it.
pub(in crate::threads) fn wake_quietly(thread: ThreadRef) -> ToTell {
    // Release: what was done before is seen by the thread. Acquire: of a thread that is blocked the
    // saved registers are seen. Of several who wake it one finds it blocked.
    match thread.state.swap(WOKEN, Ordering::AcqRel) {
        BLOCKED => run_queue::put_quietly(run_queue::place(thread), thread, End::Back),
        _ => ToTell::NOBODY,
    }
}
