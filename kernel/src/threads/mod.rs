//! Kernel threads.

/// Switches to another thread if one wants the CPU and interrupts are on. Called when the last pin goes.
#[cold]
pub fn preempt() {}
