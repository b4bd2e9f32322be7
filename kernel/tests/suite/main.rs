//! Tests that run inside the kernel, on its own frames, page tables and TLB.
#![no_std]
#![no_main]
#![feature(custom_test_frameworks)]
#![test_runner(kernel::testing::run)]
#![reexport_test_harness_main = "run_tests"]

extern crate alloc;

mod areas;
mod calls;
mod console;
mod costs;
mod cpus;
mod devices;
mod frames;
mod handlers;
mod heap;
mod invlpgb;
mod isolated;
mod latency;
mod machine;
mod memory_map;
mod page_tables;
mod percpu;
mod ram;
mod rcu;
mod records;
mod refusals;
mod serial;
mod shootdown;
mod soft_off;
mod splits;
mod threads;
mod trace;

protocol::test_kernel!();
kernel::entry!(main);

fn main() -> ! {
    run_tests();
    unreachable!("the test runner ends the machine");
}
