//! Bringing the machine up: from the boot loader's hands to the kernel's `main`, with all CPUs.
//!
//! Only this room knows all others: it makes what they need, in the order in which they need it, and installs the
//! [hooks](crate::arch::hook) by which lower rooms call higher ones. Called once, by the loader. The trampoline's lock is
//! the one lock here; nothing is allocated under it.
//!
//! | file | what |
//! |---|---|
//! | `boot` | the sequence |
//! | `hooks` | who calls whom upward |
//! | `smp`, `trampoline`, `tsc_sync` | the other CPUs |
//! | `acpi`, `madt`, `clocks` | what the firmware tells; how fast time runs |
//! | `exception_stacks` | what a CPU needs to take exceptions |

mod acpi;
mod boot;
mod clocks;
mod exception_stacks;
mod hooks;
pub mod madt;
pub mod smp;
mod trampoline;
mod tsc_sync;

pub use boot::{LOADER_CONFIG, start};
