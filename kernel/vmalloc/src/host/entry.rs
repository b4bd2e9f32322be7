//! Page table entries as the simulated CPUs read them: by Intel's manual, not by the library's definitions.

use crate::{BLOCK_PAGES, PAGE_SHIFT};

pub(crate) const PRESENT: u64 = 1;
pub(crate) const WRITABLE: u64 = 1 << 1;
pub(crate) const ACCESSED: u64 = 1 << 5;
pub(crate) const DIRTY: u64 = 1 << 6;
pub(crate) const HUGE: u64 = 1 << 7;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
/// Reserved bits in the entry of a 2 MiB page.
const HUGE_ZERO: u64 = 0x1f_e000;

/// The number of the page attribute table's entry that an entry names, whose bit `pat` is the highest of it (Intel SDM 3A,
/// section 12.12.3).
fn cache(entry: u64, pat: u32) -> u64 {
    (entry >> pat & 1) << 2 | entry >> 3 & 3
}

/// A translation, as a CPU remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    pub frame: u64,
    pub writable: bool,
    pub executable: bool,
    /// The number of the entry of the page attribute table that has its memory type.
    pub cache: u64,
    /// Whether it is of a 2 MiB page.
    pub huge: bool,
    /// Whether the CPU has marked the entry dirty: it does so when it first writes by it, and not again.
    pub dirty: bool,
}

impl Translation {
    /// What a present entry says that maps the page at an address, in a leaf table or, `huge`, above.
    pub fn read(entry: u64, address: usize, huge: bool) -> Self {
        assert!(!huge || entry & HUGE != 0, "{entry:#x} maps no 2 MiB page");
        assert!(!huge || entry & HUGE_ZERO == 0, "{entry:#x} maps a 2 MiB page that is not aligned");
        let first = frame(if huge { entry & !(1 << 12) } else { entry });
        let page = if huge { (address >> PAGE_SHIFT & (BLOCK_PAGES - 1)) as u64 } else { 0 };
        Self {
            frame: first + page,
            writable: entry & WRITABLE != 0,
            executable: entry & NO_EXECUTE == 0,
            cache: cache(entry, if huge { 12 } else { 7 }),
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
    /// has flushed, and speculation by the old one only reads. What the other frame is may be cached in another way: a device.
    pub fn may_stand_beside(self, other: Self, asleep: bool) -> bool {
        let alike =
            (self.writable, self.executable, self.cache) == (other.writable, other.executable, other.cache);
        (asleep || self.frame == other.frame)
            && (self.cache == other.cache || self.frame != other.frame)
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
