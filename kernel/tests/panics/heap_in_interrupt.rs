//! An interrupt handler that allocates from the heap must be refused.
//! Seen failing: with a pin that does not ask where it is made, the memory was allocated.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::hint::black_box;
use kernel::arch::{cpu, interrupts};

protocol::test_kernel!("an_interrupt_handler_cannot_allocate_from_the_heap");
kernel::entry!(main);

fn main() -> ! {
    if cpu::online().count() < 2 {
        // Nobody would be interrupted.
        kernel::testing::run(&[]);
    }
    kernel::testing::expect_panic(TEST, "memory allocation of 8 bytes failed");
    interrupts::call_on(1, || drop(black_box(Box::new(7_u64))));
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
