//! Devices: the serial line, QEMU's configuration device, the screen, the ways to
//! end the machine.

pub mod fw_cfg;
pub mod power;
mod screen;
pub mod serial;
