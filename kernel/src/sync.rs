//! The kernel's locks.
//!
//! One CPU runs and nothing interrupts it but faults, which never return to code that holds a
//! lock; so these are plain spinlocks. Their order: heap; then those of `vmalloc` (arena, pool,
//! block); then the frames' (magazine, buddy); the serial line's is the innermost.

pub use spin::mutex::SpinMutex as Mutex;
pub use spin::mutex::SpinMutexGuard as MutexGuard;
pub use spin::once::Once;
