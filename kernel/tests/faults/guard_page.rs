//! A write just behind an area must hit its guard page, and be reported with the area and its owner.
#![no_std]
#![no_main]

protocol::test_kernel!("a_write_behind_an_area_hits_its_guard_page");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "nothing is mapped there; it is in the guard page of");
    let Ok(area) = kernel::memory::vmalloc().vmalloc(3 * vmalloc::PAGE_SIZE) else { panic!("no memory") };
    // SAFETY: not safe: that is the test. Nothing but the guard page can be hit.
    unsafe { area.byte_add(3 * vmalloc::PAGE_SIZE).write_volatile(1) };
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
