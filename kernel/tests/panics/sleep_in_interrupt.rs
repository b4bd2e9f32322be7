//! An interrupt handler that calls what may wait must be refused, also where it would not have waited.
//! Seen failing: without the check the call returned at once.
#![no_std]
#![no_main]

use kernel::{
    arch::{cpu, interrupts},
    threads,
};

protocol::test_kernel!("an_interrupt_handler_cannot_call_what_may_wait");
kernel::entry!(main);

fn main() -> ! {
    if cpu::online().count() < 2 {
        // Nobody would be interrupted.
        kernel::testing::run(&[]);
    }
    kernel::testing::expect_panic(TEST, "sleep in an interrupt handler: it may have to wait");
    interrupts::call_on(1, || threads::sleep_until(0));
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
