//! The IO-APICs, which lead devices' interrupts to CPUs. The kernel wants none: what the firmware left open
//! is masked, but for lines that lead to the firmware itself. Source: Intel 82093AA data sheet, section 3.

use crate::{lock_class, sync::SpinLock};
use alloc::vec::Vec;
use core::ptr::NonNull;

/// Those that were found. Registers are selected, then read or written.
static IO_APICS: SpinLock<Vec<IoApic>> = SpinLock::new(lock_class!("IO-APICs"), Vec::new());

/// Bytes of the registers.
pub(crate) const BYTES: usize = 0x20;
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const VERSION: u32 = 0x01;
/// The first line's entry, of two registers each.
const ENTRIES: u32 = 0x10;
const MASKED: u32 = 1 << 16;
const DELIVERY: u32 = 0b111 << 8;
/// Delivered as a system management interrupt: the firmware's own, for keyboards on USB, say, behind the kernel's
/// back. No CPU sees it as an interrupt.
const DELIVER_SMI: u32 = 0b010 << 8;

struct IoApic {
    registers: NonNull<u8>,
}

// SAFETY: the registers are mapped for ever, on all CPUs, and used under the lock.
unsafe impl Send for IoApic {}

impl IoApic {
    /// Lines; none if there are no registers: all bits are read as ones then.
    fn lines(&self) -> u32 {
        match self.read(VERSION) {
            u32::MAX => 0,
            version => (version >> 16 & 0xff) + 1,
        }
    }

    /// Whether the line can interrupt a CPU.
    fn is_open(&self, line: u32) -> bool {
        let entry = self.read(ENTRIES + 2 * line);
        entry & MASKED == 0 && entry & DELIVERY != DELIVER_SMI
    }

    fn mask(&self, line: u32) {
        if self.is_open(line) {
            self.write(ENTRIES + 2 * line, MASKED);
        }
    }

    fn read(&self, register: u32) -> u32 {
        // SAFETY: the registers are mapped for ever; selecting and reading have no other effect.
        unsafe {
            self.registers.byte_add(SELECT).cast().write_volatile(register);
            self.registers.byte_add(WINDOW).cast().read_volatile()
        }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as above; what is written only keeps interrupts away.
        unsafe {
            self.registers.byte_add(SELECT).cast().write_volatile(register);
            self.registers.byte_add(WINDOW).cast().write_volatile(value);
        }
    }
}

/// Masks every line to CPUs of the IO-APICs whose registers are seen at these addresses. Called once, at boot.
///
/// # Safety
/// At each address [`BYTES`] bytes of such registers are mapped, uncached, for ever.
pub(crate) unsafe fn init(registers: Vec<NonNull<u8>>) {
    *IO_APICS.lock() = registers.into_iter().map(|registers| IoApic { registers }).collect();
    mask_all();
}

/// Masks every line of every IO-APIC that can interrupt a CPU.
pub fn mask_all() {
    let io_apics = IO_APICS.lock();
    io_apics.iter().for_each(|io_apic| (0..io_apic.lines()).for_each(|line| io_apic.mask(line)));
}

/// How many lines there are, and how many of them can interrupt a CPU.
pub fn lines() -> (usize, usize) {
    let io_apics = IO_APICS.lock();
    let open = |io_apic: &IoApic| (0..io_apic.lines()).filter(|&line| io_apic.is_open(line)).count();
    (io_apics.iter().map(|io_apic| io_apic.lines() as usize).sum(), io_apics.iter().map(open).sum())
}
