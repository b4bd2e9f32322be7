//! A jump into an area that may not be executed must be reported as that.
#![no_std]
#![no_main]

use core::mem;

protocol::test_kernel!("a_jump_into_data_is_reported_as_an_execution");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "page fault: execution of 0xffff");
    let Ok(area) = kernel::memory::vmalloc().vmalloc(1) else { panic!("no memory") };
    // SAFETY: not safe: that is the test. It is no function, and the CPU does not get to its first instruction.
    let jump: extern "C" fn() = unsafe { mem::transmute(area) };
    jump();
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
