//! Attributes: the bits that are alike in all entries of an area.

use super::{
    ACCESSED, CACHE_DISABLE, DIRTY, Entry, NO_EXECUTE, OWNED, PRESENT, RAM, WRITABLE, WRITE_THROUGH,
};
use crate::{Cache, Protection, types::Owner};

/// The bits of an entry that do not depend on the frame, nor on the place in the area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes(pub(super) u64);

impl Attributes {
    /// The bits that [`Protection`] decides.
    pub(super) const PROTECTION: u64 = WRITABLE | NO_EXECUTE;

    /// Of pages full of zeros, which are known to be until written.
    #[inline]
    pub fn zeroed(self) -> Self {
        Self(self.0 & !DIRTY)
    }

    #[inline]
    pub fn are_zeroed(self) -> bool {
        self.0 & DIRTY == 0
    }

    /// What pages that kept their frames have of them.
    #[inline(always)]
    pub fn unmapped(self) -> u64 {
        self.0 & !PRESENT
    }

    /// Of pages of a `vm_map_ram` mapping that shares a block.
    #[inline]
    pub fn ram(protection: Protection) -> Self {
        Self(Self::new(protection, Cache::WriteBack, Owner::Caller).0 | RAM)
    }

    /// Of the one page of such a mapping, marked as its first and its last.
    #[inline]
    pub fn of_ram_page(self) -> Self {
        Self(Entry(self.0).with_ram_start(1).with_last().0)
    }

    #[inline]
    pub fn new(protection: Protection, cache: Cache, owner: Owner) -> Self {
        let cache = match cache {
            Cache::WriteBack => 0,
            Cache::WriteThrough => WRITE_THROUGH,
            Cache::Uncached => WRITE_THROUGH | CACHE_DISABLE,
        };
        // Accessed and dirty are set beforehand: the CPU need not, which costs it an assist.
        Self(PRESENT | ACCESSED | DIRTY | protection_bits(protection) | cache | owner_bits(owner))
    }

    /// Of further pages, of undefined contents, of the area whose last page this entry maps.
    #[inline]
    pub fn of_growth(last: Entry) -> Self {
        let owned = Self::new(Protection::ReadWrite, Cache::WriteBack, Owner::Area);
        Self(owned.0 & !Self::PROTECTION | last.0 & Self::PROTECTION)
    }
}

/// The bits that a protection decides, of those in [`Attributes::PROTECTION`].
#[inline]
pub(super) fn protection_bits(protection: Protection) -> u64 {
    match protection {
        Protection::ReadWrite => WRITABLE | NO_EXECUTE,
        Protection::ReadOnly => NO_EXECUTE,
        Protection::ReadExecute => 0,
    }
}

/// The bit that tells whose the frame is.
#[inline]
pub(super) fn owner_bits(owner: Owner) -> u64 {
    match owner {
        Owner::Area => OWNED,
        Owner::Caller => 0,
    }
}
