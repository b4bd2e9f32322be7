//! What an area is, and what may be done with its pages: in words, and as the bits of an entry that are alike in all
//! of an area's entries.

use super::{
    ACCESSED, CACHE_DISABLE, DIRTY, Entry, NO_EXECUTE, OWNED, PRESENT, RAM, WRITABLE, WRITE_THROUGH,
};

/// Which call made an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Memory of its own, from `vmalloc` and its relatives.
    Vmalloc = 1,
    /// Frames of somebody else, from `vmap`.
    Vmap = 2,
    /// Registers or memory of a device, from `ioremap`.
    Ioremap = 3,
    /// Frames of somebody else for a short time, from `vm_map_ram`.
    VmMapRam = 4,
    /// One of several at set distances, whose pages come and go, from `allocate_congruent`.
    Congruent = 5,
}

impl Kind {
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        [Self::Vmalloc, Self::Vmap, Self::Ioremap, Self::VmMapRam, Self::Congruent]
            .into_iter()
            .find(|&kind| kind as u64 == bits)
    }

    /// The field's word for it, as `vmallocinfo` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vmalloc => "vmalloc",
            Self::Vmap => "vmap",
            Self::Ioremap => "ioremap",
            Self::VmMapRam => "vm_map_ram",
            Self::Congruent => "congruent",
        }
    }
}

/// What may be done with a page. There is no way to say writable and executable at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protection {
    /// Read and written.
    #[default]
    ReadWrite,
    /// Read.
    ReadOnly,
    /// Read and executed.
    ReadExecute,
}

/// How CPUs cache a page. The meanings are those of the page attribute table at reset
/// (Intel SDM 3A, table 12-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cache {
    /// As ordinary memory.
    #[default]
    WriteBack,
    /// Reads are cached, writes go to memory at once.
    WriteThrough,
    /// Never cached: registers of devices.
    Uncached,
}

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
        Self(Self::new(protection, Cache::WriteBack, false).0 | RAM)
    }

    /// Of the one page of such a mapping, marked as its first and its last.
    #[inline]
    pub fn of_ram_page(self) -> Self {
        Self(Entry(self.0).with_ram_start(1).with_last().0)
    }

    #[inline]
    pub fn new(protection: Protection, cache: Cache, owned: bool) -> Self {
        let cache = match cache {
            Cache::WriteBack => 0,
            Cache::WriteThrough => WRITE_THROUGH,
            Cache::Uncached => WRITE_THROUGH | CACHE_DISABLE,
        };
        // Accessed and dirty are set beforehand: the CPU need not, which costs it an assist.
        Self(PRESENT | ACCESSED | DIRTY | protection.bits() | cache | if owned { OWNED } else { 0 })
    }

    /// Of further pages, of undefined contents, of the area whose last page this entry maps.
    #[inline]
    pub fn of_growth(last: Entry) -> Self {
        let owned = Self::new(Protection::ReadWrite, Cache::WriteBack, true);
        Self(owned.0 & !Self::PROTECTION | last.0 & Self::PROTECTION)
    }
}

impl Protection {
    #[inline]
    pub(super) fn bits(self) -> u64 {
        match self {
            Self::ReadWrite => WRITABLE | NO_EXECUTE,
            Self::ReadOnly => NO_EXECUTE,
            Self::ReadExecute => 0,
        }
    }
}
