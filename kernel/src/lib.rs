//! A minimal x86-64 kernel that owns its page tables and a kernel virtual range, around a vmalloc
//! subsystem (the crate `vmalloc`).
//!
//! It is a library so that the console kernel (`main.rs`) and the test kernels (`tests/`) share
//! everything but what they do once booted: see [`entry`].
#![no_std]

extern crate alloc;

pub mod arch;
pub mod boot;
pub mod console;
pub mod drivers;
pub mod memory;
mod panic;
pub mod sync;
pub mod test_vmalloc;
pub mod testing;
