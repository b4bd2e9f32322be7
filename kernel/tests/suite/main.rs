//! Tests that run inside the kernel, on its own frames, page tables and TLB.
#![no_std]
#![no_main]
#![feature(custom_test_frameworks)]
#![test_runner(kernel::testing::run)]
#![reexport_test_harness_main = "run_tests"]

extern crate alloc;

mod library;
mod memory;
mod processors;
mod tools;

protocol::test_kernel!();
kernel::entry!(main);

fn main() -> ! {
    run_tests();
    unreachable!("the test runner ends the machine");
}
