//! A panic must be reported with its CPU, place and message, and end the machine.
#![no_std]
#![no_main]

protocol::test_kernel!("a_panic_is_reported");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "panic on CPU 0 at kernel/tests/panics/panic.rs:");
    panic!("the test panics");
}
