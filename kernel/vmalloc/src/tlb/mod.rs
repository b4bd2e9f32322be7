//! Which CPUs may still use old translations, and making them forget: see `shootdown`.
//!
//! This room knows nothing of the rest of the library. It asks its machine for what [`Flusher`] says.

mod counters;
mod cpus;
mod flusher;
mod mailbox;
mod shootdown;

pub use counters::Counters;
pub use cpus::{CpuSet, ListError, MAX_CPUS};
pub use flusher::{Flusher, Scope};
pub use shootdown::{Forbid, Reach, Shootdown, Stamp};
