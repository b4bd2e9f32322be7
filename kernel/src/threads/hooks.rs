//! What this room asks of the rooms above.

use crate::arch::hook::Hooks;

/// The functions that `threads` calls upward.
#[derive(Debug)]
pub struct ThreadsHooks {
    /// Is told of each tick of a CPU, on it, in the timer's interrupt.
    pub tick: fn(usize),
}

/// Until others are installed nobody is told.
pub static HOOKS: Hooks<ThreadsHooks> = Hooks::new("threads", &ThreadsHooks { tick: |_| {} });
