//! A write to an area that was freed must be reported with who allocated it and who freed it.
#![no_std]
#![no_main]

use kernel::memory::vmalloc;

protocol::test_kernel!("a_use_after_a_free_names_who_allocated_and_who_freed");
kernel::entry!(main);

fn main() -> ! {
    let text = ", allocated by kernel/tests/faults/freed/use_after_free.rs:15:30, freed by \
                kernel/tests/faults/freed/use_after_free.rs:17:36 on CPU 0 in the thread main";
    kernel::testing::expect_panic(TEST, text);
    assert!(vmalloc().set_remembered(64), "memory for 64");
    let Ok(area) = vmalloc().vmalloc(5000) else { panic!("no memory") };
    // SAFETY: not safe: that is the test.
    let freed = unsafe { vmalloc().vfree(area) };
    assert!(freed.is_ok(), "it is allocated");
    // SAFETY: not safe: that is the test.
    unsafe { area.write_volatile(1) };
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
