//! The CPU that a check runs on.

use crate::Frame;

/// The CPU that a check runs on: how it reads memory, and what its registers say. A kernel uses
/// [`ThisCpu`]; a simulated machine implements it for its own.
pub trait Cpu {
    /// Reads the eight bytes at an address that the page tables map, as a program would: through the CPU's
    /// translations. `None` means that the access faults, which only a simulated CPU can tell.
    ///
    /// # Safety
    /// The address is a multiple of eight, and mapped to a frame that the caller owns.
    unsafe fn read(&self, address: usize) -> Option<u64>;

    /// Returns what the CPU's registers say now.
    fn registers(&self) -> Registers;

    /// Returns whether interrupts can come in now.
    fn takes_interrupts(&self) -> bool;

    /// Returns whether the pointers that [`direct_map`](crate::Platform::direct_map) returns are addresses of this CPU, in
    /// its page tables. Those of a simulated machine are its host's.
    fn has_direct_map(&self) -> bool {
        true
    }

    /// Returns how often the check asks whether another CPU has answered before it calls that CPU silent.
    fn patience(&self) -> u64 {
        // Ten seconds or more: each look takes a pause and an atomic access.
        1 << 28
    }
}

/// What a CPU's registers say about paging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// The frame of the top level page table, in CR3.
    pub root: Frame,
    /// Whether writes to read-only pages fault in the kernel, too: CR0.WP.
    pub write_protect: bool,
    /// Whether the no-execute bit of entries is in effect, rather than a reserved bit that faults: EFER.NXE.
    pub no_execute: bool,
    /// Whether page tables have five levels: CR4.LA57.
    pub five_levels: bool,
    /// Bits of physical addresses: CPUID leaf 8000_0008H.
    pub physical_bits: u32,
}

#[cfg(target_arch = "x86_64")]
mod this {
    use super::{Cpu, Registers};
    use crate::Frame;
    use raw_cpuid::CpuId;
    use x86_64::{
        instructions::interrupts,
        registers::{
            control::{Cr0, Cr0Flags, Cr3, Cr4, Cr4Flags, Cr8},
            model_specific::{Efer, EferFlags},
        },
    };

    /// Priority class, in CR8, that masks every interrupt.
    const ALL_MASKED: u64 = 15;

    /// The CPU that runs the code, with the privileges of a kernel.
    #[derive(Clone, Copy, Debug)]
    pub struct ThisCpu;

    impl Cpu for ThisCpu {
        unsafe fn read(&self, address: usize) -> Option<u64> {
            // SAFETY: the caller's promise.
            Some(unsafe { (address as *const u64).read_volatile() })
        }

        fn registers(&self) -> Registers {
            let capacities = CpuId::new().get_processor_capacity_feature_info();
            Registers {
                root: Frame::at(Cr3::read_raw().0.start_address().as_u64()),
                write_protect: Cr0::read().contains(Cr0Flags::WRITE_PROTECT),
                no_execute: Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE),
                five_levels: Cr4::read().contains(Cr4Flags::L5_PAGING),
                // As many as a CPU without the leaf has (Intel SDM 3A, section 4.1.4).
                physical_bits: capacities.map_or(36, |info| info.physical_address_bits().into()),
            }
        }

        fn takes_interrupts(&self) -> bool {
            interrupts::are_enabled() && Cr8::read_raw() < ALL_MASKED
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub use this::ThisCpu;
