//! A second free is refused, and its error tells of the first.
#![no_std]
#![no_main]

use kernel::memory::vmalloc;

protocol::test_kernel!("a_second_free_names_the_first");
kernel::entry!(main);

fn main() -> ! {
    let text = ", allocated by kernel/tests/panics/double_free.rs:15:30, freed by \
                kernel/tests/panics/double_free.rs:18:48 on CPU 0 in the thread main";
    kernel::testing::expect_panic(TEST, text);
    assert!(vmalloc().set_remembered(64), "memory for 64");
    let Ok(area) = vmalloc().vmalloc(100) else { panic!("no memory") };
    for _ in 0..2 {
        // SAFETY: wrong on purpose: the second is found out.
        if let Err(error) = unsafe { vmalloc().vfree(area) } {
            panic!("{error}");
        }
    }
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
