//! The registers that decide how a CPU runs: every CPU gets what the boot CPU has.

use x86_64::registers::{
    control::{Cr0, Cr4},
    model_specific::{Efer, Msr},
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

impl Controls {
    /// Those of the CPU this runs on.
    #[must_use]
    pub fn of_this_cpu() -> Self {
        // SAFETY: every x86-64 CPU has the register; reading it changes nothing.
        let pat = unsafe { Msr::new(PAT).read() };
        Self { cr0: Cr0::read_raw(), cr4: Cr4::read_raw(), efer: Efer::read_raw(), pat }
    }

    /// Makes the CPU this runs on the same.
    ///
    /// # Safety
    /// They were read from a CPU of this machine that runs on the same page tables.
    pub unsafe fn apply(&self) {
        // SAFETY: promised by the caller. Paging and long mode are on in both, so no bit that
        // cannot change under paging does.
        unsafe {
            Msr::new(PAT).write(self.pat);
            Efer::write_raw(self.efer);
            Cr4::write_raw(self.cr4);
            // After INIT caches are off (Intel SDM 3A, table 10-1); this turns them on, too.
            Cr0::write_raw(self.cr0);
        }
    }
}
