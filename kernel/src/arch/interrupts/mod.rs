//! Exceptions and interrupts: from the descriptor tables to what is done about them.
//!
//! | file | what |
//! |---|---|
//! | `segments` | segments, and the stacks that exceptions switch to |
//! | `idt` | the entry: every register is saved |
//! | `exceptions` | what ends the kernel: faults, and NMIs that stop a CPU |
//! | `handler` | interrupts of the timer and of other CPUs |
//! | `calls` | functions called on other CPUs |
//! | `stop` | stopping all other CPUs for good |
//!
//! Anybody may call other CPUs, with interrupts on. Locks: the one around a call of another CPU.
//! Handlers take none themselves; what they call by [`hooks`](super::hooks) takes only locks that are never held with
//! interrupts on.

pub mod attempt;
mod calls;
mod exceptions;
mod handler;
pub(crate) mod idt;
pub(crate) mod segments;
pub(crate) mod stop;

pub use calls::{call_on, call_on_all};
pub use handler::handled;
