//! Who runs where, and going from one thread to the other.

pub(super) mod list;
pub(super) mod run_queue;
pub(super) mod schedule;
pub(super) mod switch;
pub(super) mod thread;
