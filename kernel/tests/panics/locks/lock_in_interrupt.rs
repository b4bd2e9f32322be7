//! An interrupt handler that takes a lock which the code it interrupted holds must panic, not hang.
//! Seen failing: without the check the machine hung.
#![no_std]
#![no_main]

use core::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, Ordering},
};
use kernel::{
    arch::{cpu, interrupts},
    lock_class,
    sync::SpinLock,
    threads::Builder,
};

protocol::test_kernel!("an_interrupt_handler_does_not_wait_for_who_it_interrupted");
kernel::entry!(main);

static LOCK: SpinLock<u32> = SpinLock::new(lock_class!("test"), 0);
static HELD: AtomicBool = AtomicBool::new(false);

fn main() -> ! {
    if cpu::online().count() < 2 {
        // Nobody would be interrupted.
        kernel::testing::run(&[]);
    }
    kernel::testing::expect_panic(TEST, "a lock that is held was taken in an interrupt handler");
    let holder = Builder::new("holder").on_cpu(1).spawn(|| {
        let _held = LOCK.lock();
        HELD.store(true, Ordering::Release);
        loop {
            spin_loop();
        }
    });
    while !HELD.load(Ordering::Acquire) {
        spin_loop();
    }
    interrupts::call_on(1, || *LOCK.lock() += 1);
    drop(holder);
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
