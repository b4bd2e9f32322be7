//! A lock that turns interrupts off, opened before one that was taken later, turns them on while that is held: that
//! must end the machine.
//! Seen failing: without the check interrupts were on under the lock, and nobody knew.
#![no_std]
#![no_main]

use kernel::{lock_class, sync::IrqLock};

protocol::test_kernel!("a_lock_opened_out_of_order_is_found_out");
kernel::entry!(main);

static FIRST: IrqLock<()> = IrqLock::new(lock_class!("first"), ());
static SECOND: IrqLock<()> = IrqLock::new(lock_class!("second"), ());

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "interrupts were turned on while they had to stay off");
    let first = FIRST.lock();
    let second = SECOND.lock();
    drop(first);
    drop(second);
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
