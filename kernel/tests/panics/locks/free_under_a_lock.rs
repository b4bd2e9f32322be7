//! Debug builds end the machine if memory is freed under a lock: the free might wake the purger, whose queue has a lock, too.
//! Under a lock around the code of others, which allocates, it is allowed.
//! Seen failing: without the check the memory was freed.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use kernel::{
    lock_class,
    sync::{SpinLock, order},
};

protocol::test_kernel!("memory_that_is_freed_under_a_lock_is_found_out");
kernel::entry!(main);

static STRICT: SpinLock<Option<Box<u8>>> = SpinLock::new(lock_class!("strict"), None);
static ALLOCATING: SpinLock<Option<Box<u8>>> = SpinLock::new(lock_class!(allocating "allocating"), None);

fn main() -> ! {
    if !order::CHECKED {
        // Nothing would be found out.
        kernel::testing::run(&[]);
    }
    kernel::testing::expect_panic(
        TEST,
        "memory is freed while the lock of class strict, taken at kernel/tests/",
    );
    for lock in [&ALLOCATING, &STRICT] {
        let boxed = Box::new(1);
        *lock.lock() = Some(boxed);
        *lock.lock() = None;
    }
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
