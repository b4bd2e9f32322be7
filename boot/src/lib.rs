//! Boots the kernel in QEMU, judges how it ended, and runs its tests.
//!
//! The host side of the project. `run.sh` and cargo's runner
//! (`boot/runner.sh`) start the program of this crate; there is no other way
//! to the machine, so that every run is judged by the same rules.
//!
//! | module | for |
//! |---|---|
//! | [`cli`] | what the user types |
//! | [`actions`] | `boot`, `exec` and cargo's runner |
//! | [`mod@bench`] | the benchmark suite |
//! | [`suites`] | `test`: all host tests, all test kernels |
//! | [`cargo`] | builds through cargo and learns what it made |
//! | [`scratch`] | folders that do not outlive a run |
//! | [`machine`] | a machine of QEMU's, and what this computer has for it |
//! | [`session`] | runs one machine: serial line, time limit |
//! | [`rooms`] | draws a crate's modules, and checks who uses whom |
//! | [`status`] | exit statuses and errors |
//!
//! The messages on the serial line are those of the `protocol` crate.

pub mod actions;
pub mod bench;
pub mod cargo;
pub mod cli;
pub mod machine;
pub mod rooms;
pub mod scratch;
pub mod session;
pub mod status;
pub mod suites;

#[cfg(test)]
#[path = "../tests/scripts/mod.rs"]
mod scripts;
