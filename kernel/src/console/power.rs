//! Commands that end the machine.

use super::failures;
use crate::{command::CommandError, drivers::power};

pub(super) fn poweroff(_: &[&str]) -> Result<(), CommandError> {
    failures::power_off()
}

pub(super) fn reboot(_: &[&str]) -> Result<(), CommandError> {
    power::reboot()
}

pub(super) fn panic(_: &[&str]) -> Result<(), CommandError> {
    panic!("asked for on the console")
}
