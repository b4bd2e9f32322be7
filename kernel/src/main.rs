//! The kernel that boots to its console.
#![no_std]
#![no_main]

kernel::entry!(kernel::console::run);
