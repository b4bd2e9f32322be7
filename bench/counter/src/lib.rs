//! A plugin for QEMU's emulator (TCG plugins, version 1 of their interface) that counts what a kernel's CPUs do:
//!
//! | counted | how |
//! |---|---|
//! | instructions | those of each translated block that is entered |
//! | locked instructions | by the prefix `lock`, and `xchg` with memory |
//! | cache lines moved between CPUs | by a model of caches that never forget (`lines`) |
//! | `invlpg`, writes of CR3 and of CR4 | by their bytes (`decode`) |
//! | turns of loops that wait | by their `pause` |
//! | interrupts and exceptions | by the `iretq` that ends each |
//!
//! `-plugin file=libcounter.so,out=FILE` writes the counts of each CPU to FILE when QEMU ends, and with them what they
//! were at each mark: an instruction that does nothing ([`protocol::MARK`]).
//!
//! Only code in the upper half of the address space is looked at, where kernels are: firmware and boot loader run at
//! their usual speed, and what they touched counts as nobody's.
//!
//! `plugin` is what QEMU calls, on the thread of the CPU that it is about; `qemu` declares what it calls of QEMU. All
//! else is plain data. Nothing here takes a lock while the guest runs, except at a mark.

pub mod counts;
pub mod decode;
pub mod lines;
// QEMU has what these call, and a test program does not.
#[cfg(not(test))]
mod plugin;
#[cfg(not(test))]
mod qemu;
