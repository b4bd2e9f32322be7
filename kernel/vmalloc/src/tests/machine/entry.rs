//! Page table entries as the simulated CPUs read them: by Intel's manual, not by the library's words.

use crate::{BLOCK_PAGES, PAGE_SHIFT};

pub(super) const PRESENT: u64 = 1;
pub(super) const WRITABLE: u64 = 1 << 1;
/// Page-level write-through and cache disable: with the page attribute table as it is at reset, the memory type.
const CACHE: u64 = 1 << 3 | 1 << 4;
pub(super) const ACCESSED: u64 = 1 << 5;
pub(super) const DIRTY: u64 = 1 << 6;
pub(super) const HUGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// In the entry of a 2 MiB page: a bit of the memory type, which is bit 7 in that of a small page, and reserved ones.
const HUGE_ZERO: u64 = 0x1f_f000;

/// A translation, as a CPU remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    pub frame: u64,
    pub writable: bool,
    pub executable: bool,
    pub cache: u64,
    /// Whether it is of a 2 MiB page.
    pub huge: bool,
    /// Whether the CPU has marked the entry dirty: it does so when it first writes by it, and not again.
    pub dirty: bool,
}

impl Translation {
    /// What a present leaf entry says of the page at an address.
    pub fn read(entry: u64, address: usize) -> Self {
        let huge = entry & HUGE != 0;
        assert!(!huge || entry & HUGE_ZERO == 0, "{entry:#x} maps a 2 MiB page that is not aligned");
        let page = if huge { (address >> PAGE_SHIFT & (BLOCK_PAGES - 1)) as u64 } else { 0 };
        Self {
            frame: frame(entry) + page,
            writable: entry & WRITABLE != 0,
            executable: entry & NO_EXECUTE == 0,
            cache: entry & CACHE,
            huge,
            dirty: entry & DIRTY != 0,
        }
    }

    pub fn with_dirty(self, dirty: bool) -> Self {
        Self { dirty, ..self }
    }

    /// Whether a CPU may have both of one page without a flush between: of another size only with the same rights and
    /// memory type (Intel SDM 3A, 4.10.2.3 and 4.10.4.3), and to another frame only if it is `asleep`. It may have been
    /// asleep while the page was unmapped, flushed by the others, and mapped anew; it uses neither translation before it
    /// has flushed, and speculation by the old one only reads.
    pub fn may_stand_beside(self, other: Self, asleep: bool) -> bool {
        let alike =
            (self.writable, self.executable, self.cache) == (other.writable, other.executable, other.cache);
        (self.frame == other.frame || asleep)
            && self.cache == other.cache
            && (self.huge == other.huge || alike)
    }

    /// Whether a CPU that has it does no more, and no less, than one that has `now`.
    pub fn is_as_good_as(self, now: Self) -> bool {
        self.frame == now.frame
            && self.cache == now.cache
            && (!self.writable || now.writable)
            && (!self.executable || now.executable)
            && (!self.dirty || now.dirty)
    }
}

/// The number of the frame, table or page, of a present entry.
pub(super) fn frame(entry: u64) -> u64 {
    entry >> PAGE_SHIFT & 0xff_ffff_ffff
}
