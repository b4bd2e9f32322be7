//! Devices: the serial line, QEMU's configuration device, the ways to end the machine.

pub mod fw_cfg;
pub mod power;
pub mod serial;
