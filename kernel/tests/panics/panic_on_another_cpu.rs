//! A panic on a CPU must stop all others first, even one that prints, and be reported whole.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use kernel::arch::{cpu, interrupts};

protocol::test_kernel!("a_panic_stops_the_other_cpus");
kernel::entry!(main);

fn main() -> ! {
    let last = cpu::online().iter().last().unwrap_or(0);
    let text = format!("panic on CPU {last} at kernel/tests/panics/panic_on_another_cpu.rs:");
    kernel::testing::expect_panic(TEST, &text);
    interrupts::call_on(last, fail);
    kernel::drivers::power::exit(protocol::Exit::Failure);
}

fn fail() {
    panic!("asked for by CPU 0");
}
