//! The atomics of the parts that the models in `tests/interleavings` explore. Under `cfg(loom)` they are loom's.
//!
//! Everything that a protocol between CPUs rests on takes its atomics from here. Three kinds of atomics stay the
//! machine's in every build:
//!
//! * what lies in frames: page table entries, the pointers of the table of descriptors, the links of what interrupt
//!   handlers freed. A frame holds bytes that the machine gives and takes back, and each of these has its size, where
//!   loom's are handles of its own;
//! * counters of what happened, and what is tuned, which order nothing;
//! * those of one thread.
//!
//! Loom runs one thread at a time, so an access that it does not know of never tears, and reads what was written
//! last. It explores no older value there, and changes threads at the accesses that it knows: what entries promise of
//! order is modelled by an atomic of the model's own (`tests/interleavings/machine.rs`).

#[cfg(not(loom))]
pub(crate) use core::hint::spin_loop;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(loom)]
pub(crate) use explored::*;

#[cfg(loom)]
mod explored {
    pub(crate) use loom::{
        hint::spin_loop,
        sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    };

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
