//! Ending the machine.

use crate::arch::cpu;
use protocol::{EXIT_PORT, Exit, Record};
use x86_64::instructions::port::Port;

/// Powers the machine off and tells the host why. On a machine without QEMU's exit device, stops.
pub fn exit(why: Exit) -> ! {
    // SAFETY: the port is that of QEMU's exit device, or of none.
    unsafe { Port::new(EXIT_PORT).write(why as u32) };
    cpu::halt();
}

/// Resets the machine, by the keyboard controller.
pub fn reboot() -> ! {
    crate::drivers::serial::write_record(Record::Reboot);
    // SAFETY: pulses the reset line of the CPUs; nothing runs after it.
    unsafe { Port::<u8>::new(0x64).write(0xfe) };
    cpu::halt();
}
