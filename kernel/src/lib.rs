//! A minimal x86-64 kernel that owns its page tables and a kernel virtual range, around a vmalloc
//! subsystem (the crate `vmalloc`).
//!
//! It is a library so that the console kernel (`main.rs`) and the test kernels (`tests/`) share
//! everything but what they do once booted: see [`entry`].
#![no_std]
// So that a new event of vmalloc is not forgotten.
#![feature(non_exhaustive_omitted_patterns_lint)]
// `cargo test NAME` builds the library and the binary as test kernels too; neither has tests.
#![cfg_attr(test, no_main, feature(custom_test_frameworks))]
#![cfg_attr(test, test_runner(crate::testing::run), reexport_test_harness_main = "run_tests")]

extern crate alloc;

pub mod arch;
pub mod balance;
pub mod bringup;
pub mod command;
pub mod console;
pub mod drivers;
pub mod history;
pub mod hostfile;
pub mod instead;
pub mod memory;
pub mod replay;
pub mod services;
pub mod sync;
pub mod test_vmalloc;
pub mod testing;
pub mod threads;
pub mod trace;

#[cfg(test)]
entry!(test_main);

#[cfg(test)]
fn test_main() -> ! {
    run_tests();
    unreachable!("the test runner ends the machine");
}
