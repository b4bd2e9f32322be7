//! Endless recursion must hit the page below the stack, and be reported as what it is.
#![no_std]
#![no_main]

use core::hint::black_box;

protocol::test_kernel!("endless_recursion_is_a_stack_overflow");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "kernel stack overflow: write of");
    recurse(0);
    kernel::drivers::power::exit(protocol::Exit::Failure);
}

#[expect(unconditional_recursion, reason = "that is the test")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    recurse(depth + 1) + frame[3]
}
