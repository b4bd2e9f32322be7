//! The atomics of the files that `kernel/vmalloc/interleavings` also compiles, with others in this place.

pub(super) use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
