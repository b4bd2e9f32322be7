//! Flushing the TLBs of all CPUs by one of them: AMD's INVLPGB and TLBSYNC (AMD APM vol. 3).
//!
//! INVLPGB tells all CPUs to forget; TLBSYNC waits until they have forgotten what the CPU it runs on told
//! them. No emulator that runs this kernel has the two, so these two instructions have never been run.
//! All around them has: the operands are a pure function, and the library's host tests broadcast on
//! their simulated machine.

use core::{
    arch::asm,
    num::NonZeroU16,
    ops::Range,
    sync::atomic::{AtomicU16, Ordering},
};
use vmalloc::{PAGE_SHIFT, PAGE_SIZE};

/// RAX bit 0: only translations of the pages at the address in bits 12 to 63, and at those behind.
const ADDRESS_VALID: u64 = 1 << 0;
/// RAX bit 2: only translations of the address space in EDX bits 0 to 15. Without it those of every
/// virtual machine go, too.
const ASID_VALID: u64 = 1 << 2;
// Of the other bits, 1 asks for one PCID, which the kernel does not use; 3 for global translations, which
// the library does not make; 4 would spare the paging-structure caches, which must forget tables; 5 is
// about nested tables; 6 to 11 must be zero.

/// EDX: ASID 0, the kernel's own, and no PCID.
const EDX: u32 = 0;

/// What one INVLPGB is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operands {
    /// The first page, and which translations are meant.
    pub rax: u64,
    /// Bits 0 to 15: pages behind the first. Bit 31, 2 MiB pages, is not set.
    pub ecx: u32,
}

/// For all that is not global, at any address.
pub const EVERYTHING: Operands = Operands { rax: ASID_VALID, ecx: 0 };

/// For the pages of a page-aligned range: as many instructions as it takes, each for `most` pages or
/// fewer.
pub fn operands(range: Range<usize>, most: NonZeroU16) -> impl Iterator<Item = Operands> {
    let most = usize::from(most.get());
    let end = range.end;
    range.step_by(most * PAGE_SIZE).map(move |start| {
        let pages = most.min((end - start) >> PAGE_SHIFT);
        Operands { rax: start as u64 | ADDRESS_VALID | ASID_VALID, ecx: pages as u32 - 1 }
    })
}

/// Zero if the CPUs cannot broadcast.
static MOST_PAGES: AtomicU16 = AtomicU16::new(0);

/// Looks whether the CPUs can broadcast. Called once, on the boot CPU.
pub(in crate::arch) fn init() {
    let features = raw_cpuid::CpuId::new().get_processor_capacity_feature_info();
    if let Some(features) = features.filter(|features| features.has_invlpgb()) {
        MOST_PAGES.store(features.invlpgb_max_pages().max(1), Ordering::Relaxed);
    }
}

/// The most pages that one instruction can be told; `None` if the CPUs cannot broadcast.
#[inline]
pub fn most_pages() -> Option<NonZeroU16> {
    NonZeroU16::new(MOST_PAGES.load(Ordering::Relaxed))
}

/// Makes all CPUs forget, and waits until they have. Called pinned: each CPU waits for its own.
///
/// # Panics
/// If the CPUs cannot broadcast.
pub fn broadcast(operands: impl IntoIterator<Item = Operands>) {
    assert!(most_pages().is_some(), "the CPUs cannot broadcast");
    // SAFETY: changes nothing. INVLPGB is weakly ordered: the locked instruction that the caller's fence
    // became need not keep it behind the stores to the page tables.
    unsafe { asm!("mfence", options(nostack, preserves_flags)) };
    for Operands { rax, ecx } in operands {
        // SAFETY: the CPU has the instruction. To forget translations changes what no program means.
        unsafe {
            asm!("invlpgb", in("rax") rax, in("ecx") ecx, in("edx") EDX, options(nostack, preserves_flags))
        };
    }
    // SAFETY: as above.
    unsafe { asm!("tlbsync", options(nostack, preserves_flags)) };
}
