//! Pages that nobody may access: each keeps its frame, and every access to it faults.
//!
//! A CPU reads what is present, whatever its rights. So the entry of such a page is not present, and has its frame
//! inverted, as quarantined ones have; a bit of its own tells that the page is an area's all the same. What looks at areas
//! takes entries as [`shown`](Entry::shown).
//!
//! The first entry of an area that may have such pages says so. That keeps the area off the fast paths of `vfree` and
//! `vrealloc`, which take its pages to be present. The mark is the one of mappings of `vm_map_ram`, which own no frames.

use super::{
    Entry,
    bits::{CHANGED, GUARD, HIDDEN, OWNED, PRESENT, RAM},
};

impl Entry {
    /// The bits that mark the first page of an area that may have hidden pages.
    pub(super) const HIDES_MARK: u64 = RAM | CHANGED;

    /// Returns the entry of an area's first page, marked because some of its pages are about to be hidden.
    pub fn hiding(self) -> Self {
        Self(self.0 | Self::HIDES_MARK)
    }

    /// Returns whether the page is an area's, and nobody may access it.
    pub fn is_hidden(self) -> bool {
        self.0 & (PRESENT | GUARD | HIDDEN) == HIDDEN
    }

    /// Returns the entry of an area's page as it is while nobody may access the page.
    pub fn hidden(self) -> Self {
        if self.is_present() { Self(self.quarantined().0 | HIDDEN) } else { self }
    }

    /// Returns the entry of a hidden page as it is when the page may be accessed; any other entry as it is.
    pub fn shown(self) -> Self {
        if self.is_hidden() { Self(self.0 & !HIDDEN).mapped() } else { self }
    }

    /// Returns the entry of an area's first page without the mark of one that may have hidden pages.
    pub fn without_hiding(self) -> Self {
        if self.shown().hides() { Self(self.0 & !RAM) } else { self }
    }

    /// Returns the entry of a page that owns its frame without the marks of an area's ends.
    pub fn unmarked_owned(self) -> Self {
        Self(self.unmarked().0 & !RAM)
    }

    /// Returns whether an area that may have hidden pages starts at the page, whose entry is [shown](Self::shown).
    pub fn hides(self) -> bool {
        const MARKED: u64 = PRESENT | OWNED | RAM;
        self.0 & MARKED == MARKED
    }
}
