//! A machine of QEMU's, and what this computer has for it.

pub mod accel;
pub mod emulator;
pub mod firmware;
pub mod image;
pub mod qemu;
