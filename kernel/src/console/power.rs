//! Commands that end the machine.

use super::failures;
use crate::{command::CommandError, drivers::power};

pub(super) fn poweroff(_: &[&str]) -> Result<(), CommandError> {
    failures::power_off()
}

pub(super) fn reboot(_: &[&str]) -> Result<(), CommandError> {
    power::reboot()
}

pub(super) const PANIC: &str = "makes the kernel panic\n\
    fault  by a read of address 0x10, where nothing is";

pub(super) fn panic(arguments: &[&str]) -> Result<(), CommandError> {
    match arguments {
        [] => panic!("asked for on the console"),
        // SAFETY: nothing is mapped in the first page, so that the read faults, which ends the kernel.
        ["fault"] => panic!("address 0x10 has {}", unsafe { (0x10 as *const u8).read_volatile() }),
        [other, ..] => Err(CommandError::new(alloc::format!("{other}: neither nothing nor fault"))),
    }
}
