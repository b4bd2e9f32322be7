//! A write to an area that may only be read must be reported as that.
#![no_std]
#![no_main]

use vmalloc::{PAGE_SIZE, Protection, Request};

protocol::test_kernel!("a_write_to_a_read_only_area_is_named_as_that");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "its page does not allow that; it is in 0xffff");
    let request = Request::new(PAGE_SIZE).protection(Protection::ReadOnly);
    let Ok(area) = kernel::memory::vmalloc().allocate(request) else { panic!("no memory") };
    // SAFETY: not safe: that is the test.
    unsafe { area.write_volatile(1) };
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
