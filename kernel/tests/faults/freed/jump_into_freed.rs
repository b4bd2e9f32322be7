//! A jump into an area that was freed must be reported with who freed it: so does code that was unloaded.
#![no_std]
#![no_main]

use core::mem;
use kernel::memory::vmalloc;

protocol::test_kernel!("a_jump_into_a_freed_area_names_who_freed_it");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(
        TEST,
        ", freed by kernel/tests/faults/freed/jump_into_freed.rs:19:36 on CPU 0",
    );
    assert!(vmalloc().set_remembered(64), "memory for 64");
    let Ok(area) = vmalloc().vmalloc(5000) else { panic!("no memory") };
    // SAFETY: not safe: that is the test.
    let freed = unsafe { vmalloc().vfree(area) };
    assert!(freed.is_ok(), "it is allocated");
    // SAFETY: not safe: that is the test.
    let jump: extern "C" fn() = unsafe { mem::transmute(area) };
    jump();
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
