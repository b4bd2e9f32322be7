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
//! | [`host_tests`] | one host test program and what it reports |
//! | [`cargo`] | builds through cargo and learns what it made |
//! | [`image`] | makes the UEFI disk image of a kernel |
//! | [`firmware`] | finds OVMF |
//! | [`emulator`] | asks QEMU whether it can make a machine |
//! | [`accel`] | chooses between KVM and TCG |
//! | [`qemu`] | describes a machine as a QEMU command |
//! | [`patience`] | tells whether a program hangs |
//! | [`scratch`] | folders that do not outlive a run |
//! | [`session`] | runs one machine: serial line, time limit |
//! | [`serial`] | tells text from records on the serial line |
//! | [`judge`] | turns what happened into an exit status |
//! | [`test_kernel`] | runs one test kernel |
//! | [`witness`] | sees one machine: keeps the log, tells the judge |
//! | [`terminal`] | this terminal as the machine's console |
//! | [`rooms`] | draws a crate's modules, and checks who uses whom |
//! | [`status`] | exit statuses and errors |
//!
//! The messages on the serial line are those of the `protocol` crate.

pub mod accel;
pub mod actions;
pub mod bench;
pub mod cargo;
pub mod cli;
pub mod emulator;
pub mod firmware;
pub mod host_tests;
pub mod image;
pub mod judge;
pub mod patience;
pub mod qemu;
pub mod rooms;
pub mod scratch;
pub mod serial;
pub mod session;
pub mod status;
pub mod suites;
pub mod terminal;
pub mod test_kernel;
pub mod witness;

#[cfg(test)]
#[path = "../tests/scripts/mod.rs"]
mod scripts;
