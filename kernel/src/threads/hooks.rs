//! What this room asks of the rooms above; see [`Hook`] for who installs it.

use crate::arch::hook::Hook;

/// Is told of each tick of a CPU, on it, in the timer's interrupt. By default nobody is.
pub static TICK: Hook<fn(usize)> = Hook::new("tick", |_| {});
