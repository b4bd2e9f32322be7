//! Whether a thread runs, waits, or was woken: no wake is lost, and no thread is put in line twice.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU8, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};

/// On a CPU or in line for one.
const RUNNABLE: u8 = 0;
/// As before, and woken since it last waited.
const WOKEN: u8 = 1;
/// In no line: who wakes it puts it there.
const BLOCKED: u8 = 2;

/// Whether a thread runs, or waits to be woken.
///
/// A thread that is about to wait [takes](Self::take_wake) the wake that came before, if one did. If not, it leaves its CPU;
/// whoever runs there next [blocks](Self::block) it, once its registers are saved, and it [goes on](Self::go_on) when it is
/// on a CPU again. Others [wake](Self::wake) it at any time.
#[derive(Debug)]
pub struct State(AtomicU8);

impl State {
    /// A thread that runs, or is in line.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU8::new(RUNNABLE))
    }

    /// A thread that runs, or is in line. Loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU8::new(RUNNABLE))
    }

    /// Returns whether this thread was woken since it last waited: then it does not wait, and sees what was done before the
    /// wake.
    #[must_use]
    pub fn take_wake(&self) -> bool {
        self.0.compare_exchange(WOKEN, RUNNABLE, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Notes that this thread has waited, and runs again. It sees what was done before it was woken.
    pub fn go_on(&self) {
        self.0.swap(RUNNABLE, Ordering::Acquire);
    }

    /// Notes that the thread waits, which has left its CPU: who wakes it from now on sees its registers saved. Returns
    /// `false` if it was woken before it had left; then the caller puts it in line.
    #[must_use]
    pub fn block(&self) -> bool {
        self.0.compare_exchange(RUNNABLE, BLOCKED, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Wakes the thread, which sees what the caller did before. Returns whether the caller has to put it in line. Of several
    /// who wake it at once one has to.
    #[must_use]
    pub fn wake(&self) -> bool {
        self.0.swap(WOKEN, Ordering::AcqRel) == BLOCKED
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}
