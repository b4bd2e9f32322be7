//! A breakpoint that nobody waits at must end the machine, and be reported with its place.
#![no_std]
#![no_main]

protocol::test_kernel!("a_breakpoint_nobody_expects_is_a_failure");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "breakpoint at 0x");
    x86_64::instructions::interrupts::int3();
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
