//! A write far behind what was asked for hits the guard page, and is reported with how far.
#![no_std]
#![no_main]

protocol::test_kernel!("a_write_5000_bytes_behind_an_area_tells_how_far");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(
        TEST,
        "write_far_behind.rs:13:46 pages=1 vmalloc, 1004 bytes behind its end",
    );
    let Ok(area) = kernel::memory::vmalloc().vmalloc(100) else { panic!("no memory") };
    // SAFETY: not safe: that is the test. Nothing but the guard page can be hit.
    unsafe { area.byte_add(100 + 5000).write_volatile(1) };
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
