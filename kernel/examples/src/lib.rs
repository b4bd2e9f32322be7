//! What the examples have that is not about memory: they say how they went on the serial line, and end the machine. A kernel
//! of one's own has something of the kind.
#![no_std]

pub mod smp;

use core::{arch::asm, fmt::Write, panic::PanicInfo, ptr::NonNull};
pub use protocol::{self, Record};
use protocol::{EXIT_PORT, Exit};
use uart_16550::{Config, Uart16550Tty};
use x86_64::instructions::{hlt, interrupts, port::Port};

/// Declares an example to be a kernel with one test of this name, which [`begin`] announces as `TEST`.
#[macro_export]
macro_rules! example {
    ($name:literal) => {
        $crate::protocol::test_kernel!($name);
    };
}

/// Says that the example begins.
pub fn begin(name: &str) {
    // UEFI runs programs with interrupts on, and says nothing of them when it ends.
    interrupts::disable();
    say(Record::Tests { count: 1 });
    say(Record::Test { name });
}

/// Says that all is as it should be, and ends the machine.
pub fn passed() -> ! {
    say(Record::Passed);
    say(Record::TestsDone { passed: 1 });
    exit(Exit::Success)
}

/// Goes on in `function` on the stack that ends at `top`.
///
/// # Safety
/// The stack is nobody else's, and there for ever.
pub unsafe fn go_on_at(top: NonNull<u8>, function: extern "C" fn() -> !) -> ! {
    // SAFETY: promised by the caller. A stack's end is aligned as `call` wants it.
    unsafe {
        asm!("mov rsp, {}", "xor ebp, ebp", "call {}", "ud2", in(reg) top.as_ptr(), in(reg) function, options(noreturn))
    }
}

fn say(what: impl core::fmt::Display) {
    // SAFETY: COM1, which nobody else uses.
    let serial = unsafe { Uart16550Tty::new_port(0x3f8, Config::default()) };
    writeln!(serial.expect("a serial port"), "{what}").expect("cannot fail");
}

fn exit(why: Exit) -> ! {
    // SAFETY: the port of QEMU's exit device.
    unsafe { Port::new(EXIT_PORT).write(why as u32) };
    loop {
        hlt();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say(Record::Panic);
    say(info);
    exit(Exit::Panic)
}
