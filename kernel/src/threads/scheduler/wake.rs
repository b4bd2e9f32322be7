//! Waking threads: in any context, under any lock but a run queue's, which it takes.

use super::{
    run_queue::{self, ToTell},
    thread::ThreadRef,
};
use crate::arch::cpu::Pin;
use handover::End;

/// Wakes a thread: it goes on if it is blocked, else its next block returns at once. From anywhere, even
/// from interrupts.
pub(in crate::threads) fn wake(thread: ThreadRef) {
    wake_quietly(thread).tell();
}

/// Wakes a thread, for a caller who holds a lock that the thread takes next, and tells the CPU when it has opened it.
pub(in crate::threads) fn wake_quietly(thread: ThreadRef) -> ToTell {
    // Nobody else puts the thread in line from now on: whoever preempted this CPU would keep it waiting.
    let _pin = Pin::new();
    if thread.state.wake() {
        run_queue::put_quietly(run_queue::place(thread), thread, End::Back)
    } else {
        ToTell::NOBODY
    }
}
