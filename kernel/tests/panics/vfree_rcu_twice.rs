//! An area that is deferred twice ends the machine when it is freed again, and the report names who deferred it.
#![no_std]
#![no_main]

use kernel::{memory, services::rcu};

protocol::test_kernel!("what_is_deferred_twice_names_the_caller");
kernel::entry!(main);

fn main() -> ! {
    let text = "kernel/tests/panics/vfree_rcu_twice.rs:16:18 deferred the free of what is no area";
    kernel::testing::expect_panic(TEST, text);
    let Ok(area) = memory::vmalloc().vmalloc(1) else { panic!("out of memory") };
    for _ in 0..2 {
        // SAFETY: wrong on purpose: the second is found out.
        unsafe { rcu::vfree_rcu_mightsleep(area) };
        rcu::vfree_rcu_barrier();
    }
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
