//! Waiting: for something, for a time, for a turn; and the ticks that end it, and take samples for profiles.
//!
//! Locks: a wait queue's or a CPU's sleepers, then a run queue's. Interrupt handlers take them too.

pub(super) mod context;
pub mod profile;
pub(super) mod sleep;
pub(super) mod tick;
pub(super) mod timer;
pub(super) mod wait;
