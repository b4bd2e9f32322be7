//! What this room asks of the rooms above.

use super::hook::Hooks;
use core::fmt;

/// The functions that `arch` calls upward.
#[derive(Debug)]
pub struct ArchHooks {
    /// Switches to another thread if one wants the CPU. Called, with nothing pinned, in two places: when
    /// the last pin goes, with interrupts on; and at the end of an interrupt that came while they were on,
    /// with interrupts off, on the interrupted thread's stack, after its registers were saved there. In
    /// that place it returns, with interrupts off, when the interrupted thread goes on.
    pub preempt: fn(),
    /// Is told of every interrupt of a CPU's timer, and which address it came before, with interrupts off and pinned.
    pub timer: fn(u64),
    /// Writes the name of the running thread, for reports: today that of a stack overflow.
    pub thread_name: fn(&mut fmt::Formatter<'_>) -> fmt::Result,
    /// Writes what is known of an address that faulted, as a continuation of the report's line.
    pub address: fn(usize, &mut fmt::Formatter<'_>) -> fmt::Result,
}

/// Until others are installed nobody is switched to, the timer is not set again, and nothing is known.
pub static HOOKS: Hooks<ArchHooks> = Hooks::new(
    "arch",
    &ArchHooks { preempt: || {}, timer: |_| {}, thread_name: |_| Ok(()), address: |_, _| Ok(()) },
);
