//! Who runs where, and going from one thread to the other.
//!
//! The other files of [`threads`](super) call it; a run queue's lock, and that of the ended threads, are taken here, each
//! the last in its order.

pub(super) mod ended;
pub(super) mod list;
pub(super) mod passes;
pub(super) mod run_queue;
pub(super) mod schedule;
pub(super) mod switch;
pub(super) mod thread;
pub(super) mod wake;
