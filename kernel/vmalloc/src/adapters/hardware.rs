//! Registers and instructions of the CPU. All of this is called in ring 0, as whoever makes a
//! [`Machine`](super::Machine) promises.

use crate::Frame;
use core::marker::PhantomData;
use thiserror::Error;

#[cfg(not(test))]
use instructions as cpu;
#[cfg(test)]
use simulated as cpu;

/// Why an instance cannot run on a CPU as it is set up.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnfitCpu {
    /// Bit 11 of EFER is clear: a page table entry that forbids execution faults.
    #[error("the no-execute bit of page table entries is off: set EFER.NXE, bit 11 of MSR 0xc0000080")]
    NoExecuteOff,
    /// Bit 16 of CR0 is clear: the kernel can write to read-only pages.
    #[error("write protection is off for the kernel: set CR0.WP, bit 16")]
    WriteProtectOff,
    /// Bit 12 of CR4 is set: page tables have five levels.
    #[error(
        "page tables have five levels, and the library knows four: clear CR4.LA57 before paging is turned on"
    )]
    FiveLevels,
    /// Bit 17 of CR4 is set: a write to CR3 flushes only one process context.
    #[error(
        "process-context identifiers are on, and a write of CR3 flushes one context only: clear CR4.PCIDE, bit 17"
    )]
    ProcessContexts,
    /// Supervisor shadow stacks are on: a read-only page with the dirty bit set, as areas have them, would be
    /// one (Intel SDM 1, chapter 17).
    #[error(
        "supervisor shadow stacks are on, and pages that are read only would be such: clear bit 0 of IA32_S_CET, MSR 0x6a2"
    )]
    ShadowStacks,
    /// The register IA32_PAT, 277H, differs from that of the CPU that made the machine: a page would have a
    /// different memory type on each.
    #[error(
        "the page attribute table differs from the first CPU's: write the same to IA32_PAT, MSR 0x277, on each CPU"
    )]
    MemoryTypes,
}

/// Returns whether an instance can run on the current CPU.
pub(super) fn check() -> Result<(), UnfitCpu> {
    // Intel SDM 3A, sections 2.2.1 and 2.5.
    let bit = |register: u64, bit: u32| register >> bit & 1 != 0;
    if !bit(cpu::msr(0xc000_0080), 11) {
        Err(UnfitCpu::NoExecuteOff)
    } else if !bit(cpu::cr0(), 16) {
        Err(UnfitCpu::WriteProtectOff)
    } else if bit(cpu::cr4(), 12) {
        Err(UnfitCpu::FiveLevels)
    } else if bit(cpu::cr4(), 17) {
        Err(UnfitCpu::ProcessContexts)
    } else if bit(cpu::cr4(), 23) && bit(cpu::msr(0x6a2), 0) {
        // A CPU that has the bit in CR4 has the register.
        Err(UnfitCpu::ShadowStacks)
    } else {
        Ok(())
    }
}

/// Returns the frame of the top level page table.
pub(super) fn root() -> Frame {
    // The rest of CR3 is flags (Intel SDM 3A, section 4.5.2).
    Frame::at(cpu::cr3() & 0x000f_ffff_ffff_f000)
}

/// Flushes the page at an address and the paging-structure caches.
#[inline]
pub(super) fn flush_page(address: usize) {
    cpu::invlpg(address);
}

/// Flushes all that is not global.
pub(super) fn flush_all() {
    cpu::set_cr3(cpu::cr3());
}

/// Returns how many bits of a physical address the CPU has.
pub(super) fn physical_bits() -> u32 {
    cpu::cpuid(0x8000_0008) & 0xff
}

/// Returns the page attribute table.
pub(super) fn page_attribute_table() -> u64 {
    cpu::msr(0x277)
}

/// Returns the time stamp counter.
pub(super) fn ticks() -> u64 {
    cpu::rdtsc()
}

/// Returns whether interrupts are on.
#[inline]
pub(super) fn interrupts_are_on() -> bool {
    // Bit 9 is the interrupt flag (Intel SDM 1, section 3.4.3.3).
    cpu::rflags() & 1 << 9 != 0
}

/// Keeps interrupts off; dropped, they are what they were before. Those that were made later go first.
pub(super) struct InterruptsOff {
    were_on: bool,
    /// The flag is the CPU's.
    stays: PhantomData<*mut ()>,
}

impl InterruptsOff {
    #[inline]
    pub fn new() -> Self {
        let were_on = interrupts_are_on();
        if were_on {
            cpu::cli();
        }
        Self { were_on, stays: PhantomData }
    }
}

impl Drop for InterruptsOff {
    #[inline]
    fn drop(&mut self) {
        debug_assert!(!interrupts_are_on(), "interrupts were turned on while the library was pinned");
        if self.were_on {
            cpu::sti();
        }
    }
}

#[cfg(not(test))]
mod instructions {
    use core::arch::asm;

    /// Functions that read a register by one instruction.
    macro_rules! registers {
        ($($name:ident: $instruction:literal,)*) => {$(
            pub fn $name() -> u64 {
                let value;
                // SAFETY: in ring 0 it is allowed, and changes nothing.
                unsafe { asm!($instruction, out(reg) value, options(nomem, nostack, preserves_flags)) };
                value
            }
        )*};
    }

    registers! {
        cr0: "mov {}, cr0",
        cr3: "mov {}, cr3",
        cr4: "mov {}, cr4",
    }

    #[inline]
    pub fn rflags() -> u64 {
        let value;
        // SAFETY: changes nothing but the stack, which it uses and leaves as it was.
        unsafe { asm!("pushfq", "pop {}", out(reg) value, options(preserves_flags)) };
        value
    }

    pub fn msr(number: u32) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: every CPU with 64 bits has the registers that are asked for here; to read them changes nothing.
        unsafe {
            asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
        }
        u64::from(high) << 32 | u64::from(low)
    }

    // What flushes and what turns interrupts off and on has no `nomem`: the compiler moves no access past it.

    pub fn set_cr3(value: u64) {
        // SAFETY: the value was read, so these are the same page tables again.
        unsafe { asm!("mov cr3, {}", in(reg) value, options(nostack, preserves_flags)) };
    }

    #[inline]
    pub fn invlpg(address: usize) {
        // SAFETY: to forget a translation changes what no program means.
        unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
    }

    #[inline]
    pub fn cli() {
        // SAFETY: interrupts that come later change what no program means.
        unsafe { asm!("cli", options(nostack)) };
    }

    #[inline]
    pub fn sti() {
        // SAFETY: they were on before.
        unsafe { asm!("sti", options(nostack)) };
    }

    /// Returns EAX of a leaf.
    #[allow(unused_unsafe, reason = "older compilers call the function unsafe")]
    pub fn cpuid(leaf: u32) -> u32 {
        // SAFETY: every CPU with 64 bits has the instruction.
        unsafe { core::arch::x86_64::__cpuid(leaf) }.eax
    }

    pub fn rdtsc() -> u64 {
        // SAFETY: every CPU with 64 bits has the instruction.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
}

/// A CPU for host tests: one for each thread, with the registers that the test sets.
#[cfg(test)]
pub(super) mod simulated {
    extern crate std;

    use core::cell::Cell;

    /// The registers of a simulated CPU, and how often it flushed.
    pub struct Registers {
        pub cr0: Cell<u64>,
        pub cr4: Cell<u64>,
        pub efer: Cell<u64>,
        pub pat: Cell<u64>,
        pub shadow_stacks: Cell<u64>,
        pub rflags: Cell<u64>,
        pub full_flushes: Cell<usize>,
        /// Address of the page that was flushed last.
        pub flushed: Cell<usize>,
        pub ticks: Cell<u64>,
        /// Ticks between two readings of the time stamp counter.
        pub pace: Cell<u64>,
    }

    pub const CR3: u64 = 0x1000;
    /// With write combining, as some loaders leave it.
    pub const PAT: u64 = 0x0007_0105_0007_0406;
    const INTERRUPTS: u64 = 1 << 9;

    std::thread_local! {
        pub static CPU: Registers = const {
            Registers {
                cr0: Cell::new(1 << 16),
                cr4: Cell::new(0),
                efer: Cell::new(1 << 11),
                pat: Cell::new(PAT),
                shadow_stacks: Cell::new(0),
                rflags: Cell::new(INTERRUPTS),
                full_flushes: Cell::new(0),
                flushed: Cell::new(0),
                ticks: Cell::new(0),
                pace: Cell::new(1),
            }
        };
    }

    pub fn cr0() -> u64 {
        CPU.with(|cpu| cpu.cr0.get())
    }
    pub fn cr3() -> u64 {
        // A flag beside the address.
        CR3 | 1 << 3
    }
    pub fn cr4() -> u64 {
        CPU.with(|cpu| cpu.cr4.get())
    }
    pub fn msr(number: u32) -> u64 {
        match number {
            0xc000_0080 => CPU.with(|cpu| cpu.efer.get()),
            0x277 => CPU.with(|cpu| cpu.pat.get()),
            // A CPU whose bit of CR4 is clear may lack it.
            0x6a2 if cr4() >> 23 & 1 != 0 => CPU.with(|cpu| cpu.shadow_stacks.get()),
            _ => unreachable!("nobody asks for {number:#x}"),
        }
    }
    pub fn rflags() -> u64 {
        CPU.with(|cpu| cpu.rflags.get())
    }
    pub fn set_cr3(value: u64) {
        assert_eq!(value, cr3());
        CPU.with(|cpu| cpu.full_flushes.update(|count| count + 1));
    }
    pub fn invlpg(address: usize) {
        CPU.with(|cpu| cpu.flushed.set(address));
    }
    pub fn cli() {
        CPU.with(|cpu| cpu.rflags.update(|flags| flags & !INTERRUPTS));
    }
    pub fn sti() {
        CPU.with(|cpu| cpu.rflags.update(|flags| flags | INTERRUPTS));
    }
    pub fn cpuid(leaf: u32) -> u32 {
        assert_eq!(leaf, 0x8000_0008);
        // 48 bits of virtual addresses, 40 of physical ones.
        0x3028
    }
    pub fn rdtsc() -> u64 {
        CPU.with(|cpu| cpu.ticks.replace(cpu.ticks.get() + cpu.pace.get()))
    }
}
