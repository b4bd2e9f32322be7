//! Which CPUs must flush, and making them.

pub(crate) mod counters;
pub(crate) mod cpus;
pub(crate) mod flusher;
pub(crate) mod mailbox;
pub(crate) mod shootdown;
