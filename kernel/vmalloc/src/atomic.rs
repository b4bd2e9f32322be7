//! The atomics of the files that `interleavings/` also compiles, with other atomics in this place.

pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
