//! Who runs where, and going from one thread to the other.
//!
//! The other files of [`threads`](super) call it; the run queues' locks are taken here, one at
//! a time and with no other after them, and that of the ended threads, alone.

pub(super) mod ended;
pub(super) mod list;
pub(super) mod passes;
pub(super) mod run_queue;
pub(super) mod schedule;
pub(super) mod switch;
pub(super) mod thread;
pub(super) mod wake;
