//! The kernel's code must not be writable.
#![no_std]
#![no_main]

protocol::test_kernel!("code_cannot_be_written");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "its page does not allow that");
    let code = main as *const () as *mut u8;
    // SAFETY: not safe: that is the test. The byte keeps its value if the write should succeed.
    unsafe { code.write_volatile(code.read_volatile()) };
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
