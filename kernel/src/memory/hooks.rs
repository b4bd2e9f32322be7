//! What this room asks of the rooms above, which know of threads; see [`Hook`] for who installs them.

use crate::arch::hook::Hook;

/// Waits for so many microseconds, and answers whether it did: not if the caller may not wait. By default nobody may.
pub static PAUSE: Hook<fn(u64) -> bool> = Hook::new("pause", |_| false);

/// Wakes the threads that purge, in any context. By default there are none.
pub static PURGE: Hook<fn()> = Hook::new("purge", || {});

/// Waits for a grace period, and answers whether it did: not if the caller may not wait. By default nobody may.
pub static SYNCHRONIZE: Hook<fn() -> bool> = Hook::new("synchronize", || false);
