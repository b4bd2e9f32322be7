//! A test that leaves bytes of the heap behind must fail.
//! Seen failing: with the heap's bytes left out of the balance, the machine ended by itself.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::{hint::black_box, mem};
use kernel::testing;

protocol::test_kernel!("a_test_that_leaks_heap_bytes_fails");
kernel::entry!(main);

fn main() -> ! {
    testing::expect_panic(TEST, "leak left something behind");
    testing::run_balanced(&leak);
    kernel::drivers::power::exit(protocol::Exit::Failure);
}

fn leak() {
    mem::forget(black_box(Box::new([0_u64; 3])));
}
