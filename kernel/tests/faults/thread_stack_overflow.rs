//! Endless recursion in a thread must hit the page below its stack, and be reported with its name.
#![no_std]
#![no_main]

use core::hint::black_box;

protocol::test_kernel!("an_overflow_names_the_thread");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "of the thread deep");
    let deep = kernel::threads::spawn("deep", || recurse(0)).expect("memory enough");
    deep.join();
    kernel::drivers::power::exit(protocol::Exit::Failure);
}

#[expect(unconditional_recursion, reason = "that is the test")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    recurse(depth + 1) + frame[3]
}
