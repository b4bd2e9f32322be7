//! Explores the interleavings of the vmalloc library's own files, and of one of the kernel's, with loom's
//! atomics in the place of the machine's. The models are functions; `tests/` runs them.
//!
//! Loom tries every order of the threads' accesses, and every value that the memory model lets a load
//! return, within a bound on preemptions that each model states. It takes sequentially consistent
//! accesses for acquire and release only; what rests on more is said by fences, which it knows.
// The library's files have tests of their own, which are run with the library.
#![cfg(not(test))]

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

    loom::lazy_static! {
        static ref FENCES: AtomicU32 = AtomicU32::new(0);
    }

    /// A fence, and a place where another thread may come in. Loom changes threads only at accesses that conflict, so
    /// all fences share one, which orders nothing.
    pub(crate) fn fence(order: Ordering) {
        FENCES.fetch_add(0, Ordering::Relaxed);
        loom::sync::atomic::fence(order);
    }
}

#[path = "../../src/cpus.rs"]
#[allow(dead_code, reason = "the library's file; the models do not read lists")]
mod real_cpus;

mod cpus {
    pub use crate::real_cpus::CpuSet;

    /// Loom keeps a history of each atomic of each CPU: as few as the models need.
    pub const MAX_CPUS: usize = 3;
}

#[path = "../../src/counters.rs"]
mod counters;

#[path = "../../src/shootdown.rs"]
#[allow(dead_code, reason = "the library's file; the models do not count")]
mod shootdown;

#[path = "../../src/ahead.rs"]
#[allow(dead_code, reason = "the library's file; the models use some of it")]
mod ahead;

#[path = "../../src/flusher.rs"]
mod flusher;

#[path = "../../src/mailbox.rs"]
mod mailbox;

#[path = "../../src/list.rs"]
mod list;

#[path = "../../src/bitmap.rs"]
#[allow(dead_code, reason = "the library's file; the models use little of it")]
mod bitmap;

#[path = "../../src/pages.rs"]
#[allow(dead_code, reason = "the library's file; the models use little of it")]
mod pages;

mod platform {
    pub(crate) const BLOCK_PAGES: usize = 512;

    /// The models look at no entry.
    pub(crate) struct Table;
}

#[path = "../../../src/threads/handover.rs"]
mod handover;

pub mod block_models;
pub mod handover_models;
mod machine;
pub mod shootdown_models;
