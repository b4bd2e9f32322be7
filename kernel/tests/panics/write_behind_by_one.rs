//! A write by one byte behind what was asked for is found when the area is freed, and reported with who allocated it and
//! who frees it.
#![no_std]
#![no_main]

use kernel::memory::vmalloc;

protocol::test_kernel!("a_write_by_one_byte_behind_is_found_by_the_free");
kernel::entry!(main);

fn main() -> ! {
    let text =
        "1 bytes were written behind the 100 that were asked for, the first one at offset 100, now 0x07: ";
    kernel::testing::expect_panic(TEST, text);
    vmalloc().set_check_slack(true);
    let Ok(area) = vmalloc().vmalloc(100) else { panic!("no memory") };
    // SAFETY: not safe: that is the test. The byte is the area's all the same.
    unsafe { area.byte_add(100).write_volatile(7) };
    // SAFETY: nobody uses the area any more.
    let _ = unsafe { vmalloc().vfree(area) };
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
