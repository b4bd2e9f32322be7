//! Looking up what page tables say of an address.

use super::direct_map;
use crate::arch::tlb;
use vmalloc::{Frame, PAGE_SHIFT};
use x86_64::{
    registers::control::Cr3,
    structures::paging::{PageTableFlags as Flags, page_table::PageTableEntry},
};

/// The slot of a table of this level that is about the address.
pub(super) fn index(address: u64, level: u32) -> usize {
    (address >> (PAGE_SHIFT + 9 * (level - 1)) & 511) as usize
}

/// An entry of a table that CPUs use, and may change meanwhile: so it is read once, and there is no reference to the
/// table.
///
/// # Safety
/// The frame is a page table, and the slot one of its 512.
unsafe fn entry_in_use(table: Frame, slot: usize) -> PageTableEntry {
    // SAFETY: the direct map shows every frame; the caller promises the rest.
    unsafe { direct_map::pointer(table).cast::<PageTableEntry>().add(slot).read_volatile() }
}

/// What page tables say of one page.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// Physical address of the page's first byte.
    pub physical: u64,
    /// 1 is a page of 4 KiB, 2 of 2 MiB, 3 of 1 GiB.
    pub level: u32,
    /// The rights in the page's own entry; those above it only ever allow everything.
    pub flags: Flags,
}

/// What the page tables in use say of an address. `None` if it is not mapped, or was unmapped meanwhile. May be called
/// anywhere once [`tlb::look`] may be.
pub fn lookup(address: u64) -> Option<Mapping> {
    let mut found = None;
    // SAFETY: no table that is found linked goes before the look is over.
    tlb::look(|| found = unsafe { lookup_unguarded(address) });
    found
}

/// The physical address of what is mapped at an address, as [`lookup`].
pub fn physical(address: u64) -> Option<u64> {
    let Mapping { physical, level, .. } = lookup(address)?;
    // Larger pages begin at a multiple of their size.
    let page = 1_u64 << (PAGE_SHIFT + 9 * (level - 1));
    Some(physical + address % page)
}

/// [`lookup`] without a look.
///
/// # Safety
/// The tables through which the address is found are not given back meanwhile, as those of the direct map never are.
pub(crate) unsafe fn lookup_unguarded(address: u64) -> Option<Mapping> {
    let mut table = Frame::new(Cr3::read().0.start_address().as_u64() >> PAGE_SHIFT);
    for level in (1..=4).rev() {
        // SAFETY: the root in use is a page table, and the caller promises that those it leads to still are.
        let entry = unsafe { entry_in_use(table, index(address, level)) };
        let (physical, flags) = (entry.addr().as_u64(), entry.flags());
        if !flags.contains(Flags::PRESENT) {
            return None;
        }
        if level == 1 || flags.contains(Flags::HUGE_PAGE) {
            // Below are a bit of the memory type, and zeros.
            let page = 1 << (PAGE_SHIFT + 9 * (level - 1));
            return Some(Mapping { physical: physical / page * page, level, flags });
        }
        table = Frame::new(physical >> PAGE_SHIFT);
    }
    None
}
