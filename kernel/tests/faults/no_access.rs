//! A read of a page that nobody may access must fault, and be reported with the page's area.
//! Seen failing: with a read-only page in its place, and without the flush.
#![no_std]
#![no_main]

use vmalloc::{Area, PAGE_SIZE, Protection, Request};

protocol::test_kernel!("a_page_that_nobody_may_access_faults");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "nothing is mapped there; it is in 0x");
    let Ok(mut area) = Area::new(kernel::memory::vmalloc(), Request::new(3 * PAGE_SIZE)) else {
        panic!("no memory")
    };
    area.as_mut_slice().fill(7);
    if let Err(error) = area.protect(Protection::None) {
        panic!("{error}");
    }
    // SAFETY: not safe: that is the test.
    unsafe { area.as_ptr().byte_add(PAGE_SIZE).read_volatile() };
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
