//! An access just below the range must be reported without any area: none is there.
#![no_std]
#![no_main]

protocol::test_kernel!("a_read_below_the_range_faults");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "page fault: read of 0xffffc8fffffffff8: nothing is mapped there");
    let start = kernel::memory::vmalloc().range().start;
    // SAFETY: not safe: that is the test.
    unsafe { ((start - 8) as *const u8).read_volatile() };
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
