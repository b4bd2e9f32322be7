//! TLB shootdown: which CPUs may still use old translations, and making them forget.
//!
//! The protocol is explained in `shootdown`. This room knows nothing of the rest of the library: it asks its machine for
//! what [`Flusher`] says, and takes no lock.

mod counters;
mod cpus;
mod extent;
mod flusher;
mod mailbox;
mod shootdown;
mod state;

pub use counters::Counters;
pub(crate) use cpus::AtomicCpuSet;
pub use cpus::{CpuSet, ListError, MAX_CPUS};
pub(crate) use extent::AtomicStamp;
pub use extent::{Forbid, Reach, Stamp};
pub use flusher::{Flusher, Scope};
pub use state::{Shootdown, TlbState};
