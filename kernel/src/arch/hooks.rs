//! What this room asks of the rooms above. Every hook of `arch` is listed here; see [`Hook`] for who installs them.

use super::hook::Hook;
use core::fmt;

/// Switches to another thread if one wants the CPU. Called, with nothing pinned, in two places: when
/// the last pin goes, with interrupts on; and at the end of an interrupt that came while they were on,
/// with interrupts off, on the interrupted thread's stack, after its registers were saved there. In
/// that place it returns, with interrupts off, when the interrupted thread goes on. By default nobody is switched to.
pub static PREEMPT: Hook<fn()> = Hook::new("preempt", || {});

/// Is told of every interrupt of a CPU's timer, with interrupts off and pinned. By default the timer is not set again.
pub static TIMER: Hook<fn()> = Hook::new("timer", || {});

/// Writes the name of the running thread, for the report of a fault. By default nothing is.
pub static THREAD_NAME: Hook<fn(&mut fmt::Formatter<'_>) -> fmt::Result> =
    Hook::new("thread name", |_| Ok(()));

/// Writes what is known of an address that faulted, as a continuation of the report's line. By default nothing is.
pub static ADDRESS: Hook<fn(usize, &mut fmt::Formatter<'_>) -> fmt::Result> =
    Hook::new("address", |_, _| Ok(()));
