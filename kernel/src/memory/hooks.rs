//! What this room asks of the rooms above, which know of threads.

use crate::arch::hook::Hooks;

/// The functions that `memory` calls upward.
#[derive(Debug)]
pub struct MemoryHooks {
    /// Waits for so many microseconds, and answers whether it did: not if the caller may not wait.
    pub pause: fn(u64) -> bool,
    /// Waits for a grace period, and answers whether it did: not if the caller may not wait.
    pub synchronize: fn() -> bool,
    /// Wakes the threads that purge, in any context.
    pub purge: fn(),
    /// The beginning of the running thread's name.
    pub thread_tag: fn() -> [u8; 16],
    /// The running thread's number.
    pub thread_id: fn() -> u32,
}

/// Until others are installed nobody may wait, and no thread purges.
pub static HOOKS: Hooks<MemoryHooks> = Hooks::new(
    "memory",
    &MemoryHooks {
        pause: |_| false,
        synchronize: || false,
        purge: || {},
        thread_tag: || [0; 16],
        thread_id: || 0,
    },
);
