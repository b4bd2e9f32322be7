//! Attributes: the bits that all entries of an area have in common.

use super::{
    Entry,
    bits::{ACCESSED, DIRTY, NO_EXECUTE, OWNED, PRESENT, RAM, WRITABLE},
    memory_type,
};
use crate::{Cache, Protection, types::Owner};

/// The bits of an entry that do not depend on the frame, nor on the place in the area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes(pub(super) u64);

impl Attributes {
    /// The bits that [`Protection`] decides.
    pub(super) const PROTECTION: u64 = WRITABLE | NO_EXECUTE;

    /// Returns the attributes of pages that are full of zeros: not dirty, so that they are known to be until written.
    #[inline]
    pub fn zeroed(self) -> Self {
        Self(self.0 & !DIRTY)
    }

    /// Returns the attributes of pages that are not known to be full of zeros.
    #[inline]
    pub fn dirty(self) -> Self {
        Self(self.0 | DIRTY)
    }

    #[inline]
    pub fn are_zeroed(self) -> bool {
        self.0 & DIRTY == 0
    }

    /// Returns those of the bits that an unmapped page has while it still holds its frame.
    #[inline(always)]
    pub fn unmapped(self) -> u64 {
        self.0 & !PRESENT
    }

    /// Makes the attributes of the pages of a `vm_map_ram` mapping that shares a block.
    #[inline]
    pub fn ram(protection: Protection) -> Self {
        Self(Self::new(protection, Owner::Caller).0 | RAM)
    }

    /// Makes the attributes of ordinary pages, which are not known to be full of zeros.
    #[inline]
    pub fn new(protection: Protection, owner: Owner) -> Self {
        // Accessed and dirty are set in advance: where the CPU has to, it takes an assist.
        Self(PRESENT | ACCESSED | DIRTY | protection_bits(protection) | owner_bits(owner))
    }

    /// Makes the attributes of a device's pages, which are cached so, on CPUs with this page attribute table. `None`: no
    /// entry of that will do.
    pub fn of_device(cache: Cache, pat: u64) -> Option<Self> {
        let ordinary = Self::new(Protection::ReadWrite, Owner::Caller);
        Some(Self(ordinary.0 | memory_type::bits(cache, pat)?))
    }

    /// Makes the attributes of pages, of undefined contents, by which an area grows that ends with this entry.
    #[inline]
    pub fn of_growth(last: Entry) -> Self {
        let owned = Self::new(Protection::ReadWrite, Owner::Area);
        Self(owned.0 & !Self::PROTECTION | last.0 & Self::PROTECTION)
    }
}

/// Returns the bits of a protection, out of those in [`Attributes::PROTECTION`].
#[inline]
pub(super) fn protection_bits(protection: Protection) -> u64 {
    match protection {
        Protection::ReadWrite => WRITABLE | NO_EXECUTE,
        // Where nobody may access the page, its entry is made so afterwards.
        Protection::ReadOnly | Protection::None => NO_EXECUTE,
        Protection::ReadExecute => 0,
    }
}

/// Returns the protection of a page, by its entry as it is shown.
pub(super) fn protection_of(entry: Entry) -> Protection {
    match entry.0 & Attributes::PROTECTION {
        0 => Protection::ReadExecute,
        NO_EXECUTE => Protection::ReadOnly,
        _ => Protection::ReadWrite,
    }
}

/// Returns the bit that tells whose the frame is.
#[inline]
pub(super) fn owner_bits(owner: Owner) -> u64 {
    match owner {
        Owner::Area => OWNED,
        Owner::Caller => 0,
    }
}
