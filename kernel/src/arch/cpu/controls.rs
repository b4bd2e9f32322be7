//! The registers that decide how a CPU runs: every CPU gets what the kernel was written for, whatever the
//! firmware or the loader left in them.

use core::fmt;
use x86_64::{
    instructions::tlb,
    registers::{
        control::{Cr0, Cr0Flags, Cr4, Cr4Flags},
        debug::{Dr7, Dr7Flags, Dr7Value},
        model_specific::{Efer, EferFlags, Msr},
    },
};

/// IA32_PAT, Intel SDM 3A, section 13.12.
const PAT: u32 = 0x277;

/// Protections, features and memory types of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    cr0: u64,
    cr4: u64,
    efer: u64,
    pat: u64,
}

/// What a CPU must have for [`Controls::KERNEL`], and this one has not; or has, and must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A feature's name.
    Lacks(&'static str),
    /// Page tables have five levels, which can be changed only outside of long mode (Intel SDM 3A,
    /// section 5.1.1).
    FiveLevels,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(feature) => write!(f, "the CPU has no {feature}"),
            Self::FiveLevels => write!(f, "the firmware turned on page tables of five levels"),
        }
    }
}

impl core::error::Error for Unfit {}

impl Controls {
    /// What the kernel was written for. What is not named is off: of CR4 process-context identifiers
    /// (a CR3 write would not flush all), shadow stacks and branch tracking, protection keys; of EFER system
    /// calls, and AMD's translation cache extension (INVLPG would keep more).
    pub const KERNEL: Self = Self {
        cr0: Cr0Flags::PROTECTED_MODE_ENABLE
            .union(Cr0Flags::MONITOR_COPROCESSOR)
            .union(Cr0Flags::EXTENSION_TYPE)
            .union(Cr0Flags::NUMERIC_ERROR)
            .union(Cr0Flags::WRITE_PROTECT)
            .union(Cr0Flags::PAGING)
            .bits(),
        cr4: Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
            .union(Cr4Flags::PAGE_GLOBAL)
            .union(Cr4Flags::MACHINE_CHECK_EXCEPTION)
            .bits(),
        efer: EferFlags::LONG_MODE_ENABLE
            .union(EferFlags::LONG_MODE_ACTIVE)
            .union(EferFlags::NO_EXECUTE_ENABLE)
            .bits(),
        // Entry 0 is write back (6), 1 write through (4), 2 uncached unless the MTRRs say otherwise (7), 3 uncached
        // (0), and the same again, as at reset (table 13-12); but entry 5 is write combining (1).
        pat: 0x0007_0106_0007_0406,
    };

    /// Those of the CPU this runs on.
    #[must_use]
    pub fn of_this_cpu() -> Self {
        // SAFETY: every x86-64 CPU has the register; reading it changes nothing.
        let pat = unsafe { Msr::new(PAT).read() };
        Self { cr0: Cr0::read_raw(), cr4: Cr4::read_raw(), efer: Efer::read_raw(), pat }
    }

    /// The memory types: the page attribute table, IA32_PAT.
    #[must_use]
    pub const fn page_attribute_table(&self) -> u64 {
        self.pat
    }

    /// Whether the CPU this runs on can have [`Controls::KERNEL`].
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn check() -> Result<(), Unfit> {
        let cpuid = raw_cpuid::CpuId::new();
        let basic =
            |has: fn(&raw_cpuid::FeatureInfo) -> bool| cpuid.get_feature_info().is_some_and(|f| has(&f));
        let extended = cpuid.get_extended_processor_and_feature_identifiers();
        for (feature, is_there) in [
            ("local APIC", basic(raw_cpuid::FeatureInfo::has_apic)),
            ("GLOBAL pages", basic(raw_cpuid::FeatureInfo::has_pge)),
            ("machine check exception", basic(raw_cpuid::FeatureInfo::has_mce)),
            ("page attribute table", basic(raw_cpuid::FeatureInfo::has_pat)),
            ("no-execute pages", extended.is_some_and(|features| features.has_execute_disable())),
        ] {
            if !is_there {
                return Err(Unfit::Lacks(feature));
            }
        }
        match Cr4::read().contains(Cr4Flags::L5_PAGING) {
            true => Err(Unfit::FiveLevels),
            false => Ok(()),
        }
    }

    /// Makes the CPU this runs on so.
    ///
    /// # Safety
    /// They are [`Controls::KERNEL`], [checked](Self::check) on a CPU of this machine, or were read from one;
    /// and no mapping in use is of another meaning by them. Interrupts are off.
    pub unsafe fn apply(&self) {
        // SAFETY: promised by the caller. Paging and long mode are on in both, so no bit that
        // cannot change under paging does.
        unsafe {
            Efer::write_raw(self.efer);
            // Before CR4: shadow stacks and branch tracking must never be on with write protection off
            // (section 2.5). After power-up and reset caches are off (table 10-1); this turns them on.
            Cr0::write_raw(self.cr0);
            Cr4::write_raw(self.cr4);
            if Msr::new(PAT).read() != self.pat {
                self.write_pat();
            }
            // A breakpoint of the firmware's debugger would be an exception here.
            Dr7::write(Dr7Value::from(Dr7Flags::empty()));
        }
    }

    /// Changes the memory types: with caches off and empty, and no translation left that has the old ones;
    /// Intel SDM 3A, sections 13.12.4 and 13.11.8.
    ///
    /// # Safety
    /// As for [`apply`](Self::apply).
    unsafe fn write_pat(&self) {
        let no_fill = (self.cr0 | Cr0Flags::CACHE_DISABLE.bits()) & !Cr0Flags::NOT_WRITE_THROUGH.bits();
        // SAFETY: promised by the caller. WBINVD loses nothing. Without GLOBAL pages a CR3 write, and the change
        // itself, flush all.
        unsafe {
            Cr0::write_raw(no_fill);
            core::arch::asm!("wbinvd", options(nostack, preserves_flags));
            Cr4::write_raw(self.cr4 & !Cr4Flags::PAGE_GLOBAL.bits());
            tlb::flush_all();
            Msr::new(PAT).write(self.pat);
            core::arch::asm!("wbinvd", options(nostack, preserves_flags));
            tlb::flush_all();
            Cr0::write_raw(self.cr0);
            Cr4::write_raw(self.cr4);
        }
    }
}
