//! Devices: the serial line, QEMU's configuration device, the screen, the IO-APICs, and the ways to end the machine, a panic
//! among them.
//!
//! Anybody may print, and end the machine, in any context. `bringup` sets the devices up, and maps registers for those that
//! have any: memory is above this room. Locks: the serial line's, the last of all; that of the IO-APICs, in no order with
//! others.

mod backtrace;
mod filter;
pub mod fw_cfg;
pub mod ioapic;
mod panic;
pub mod power;
mod screen;
pub mod serial;
pub mod soft_off;
