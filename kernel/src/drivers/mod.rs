//! Devices: the serial line, QEMU's configuration device, the screen, the ways to
//! end the machine.

pub mod fw_cfg;
pub mod ioapic;
mod panic;
pub mod power;
mod screen;
pub mod serial;
pub mod soft_off;
