//! Boots the kernel in QEMU, judges how it ended, and runs its tests.
//!
//! The host side of the project. `run.sh` and cargo's runner
//! (`boot/runner.sh`) start the program of this crate; there is no other way
//! to the machine, so that every run is judged by the same rules.
//!
//! Its rooms, from top to bottom; each may use those below it (`boot/ROOMS`, `./run.sh rooms boot`):
//!
//! | module | for |
//! |---|---|
//! | [`actions`] | `boot`, `exec` and cargo's runner |
//! | [`cli`] | what the user types |
//! | [`report`] | the figures of the benchmark suite, drawn |
//! | [`rooms`] | draws a crate's modules, and checks who uses whom |
//! | [`mutants`] | changes of a package's code that no test sees |
//! | [`machines`] | the kernel's tests on each kind of machine |
//! | [`dat`] | a trace of text as trace-cmd's `trace.dat` |
//! | [`soak`] | random loads on random machines |
//! | [`replay`] | the calls of a trace from a Linux, made again |
//! | [`mod@bench`] | the benchmark suite |
//! | [`suites`] | `test`: all host tests, all test kernels |
//! | [`machine`] | a machine of QEMU's, and what this computer has for it |
//! | [`session`] | runs one program: serial line, time limit, judgement |
//! | [`symbols`] | functions and lines of a kernel's addresses |
//! | [`lines`] | reads traces of text |
//! | [`cargo`] | builds through cargo and learns what it made |
//! | [`mod@cfg`] | which builds a piece of source is part of |
//! | [`scratch`] | folders that do not outlive a run |
//! | [`places`] | the folders that this program works in |
//! | [`status`] | exit statuses and errors |
//!
//! The messages on the serial line are those of the `protocol` crate.

pub mod actions;
pub mod bench;
pub mod cargo;
pub mod cfg;
pub mod child;
pub mod cli;
pub mod dat;
pub mod lines;
pub mod machine;
pub mod machines;
pub mod mutants;
pub mod places;
pub mod replay;
pub mod report;
pub mod rooms;
pub mod scratch;
pub mod session;
pub mod soak;
pub mod status;
pub mod suites;
pub mod symbols;
pub mod words;

#[cfg(test)]
#[path = "../tests/scripts/mod.rs"]
mod scripts;
