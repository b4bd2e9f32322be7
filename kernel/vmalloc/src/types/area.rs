//! What an area is: how it is mapped, and what is known of it.

use crate::{BLOCK_PAGES, PAGE_SIZE};
use core::{fmt, panic::Location};

/// What is known of an allocated area.
#[derive(Clone, Copy, Debug)]
pub struct AreaInfo {
    /// First address.
    pub start: usize,
    /// Pages of 4 KiB; a guard page behind them is not counted.
    pub pages: usize,
    /// Guard pages behind them: one, but for what `vm_map_ram` maps inside a block.
    pub guard_pages: usize,
    /// Pages below them where nothing is mapped, if that was [asked for](crate::Request::guard_below): one, or a block.
    pub guard_below: usize,
    /// How many of `pages` are mapped: all, but for congruent areas.
    pub populated: usize,
    /// How many of `pages` are mapped by 2 MiB pages.
    pub huge_pages: usize,
    /// Bytes that were asked for.
    pub requested: usize,
    /// Which call made it.
    pub kind: Kind,
    /// Who called; it is the guard page that remembers.
    pub caller: Option<&'static Location<'static>>,
}

impl AreaInfo {
    /// First address behind the area, and behind its guard page if it has one.
    #[must_use]
    pub fn end(&self) -> usize {
        self.mapped_end() + self.guard_pages * PAGE_SIZE
    }

    /// First address of the guard pages below the area; where it has none, its own.
    #[must_use]
    pub fn guard_start(&self) -> usize {
        self.start - self.guard_below * PAGE_SIZE
    }

    /// Where the area's bytes end, and the guard page starts if there is one.
    #[must_use]
    pub fn mapped_end(&self) -> usize {
        self.start + self.pages * PAGE_SIZE
    }
}

/// One line of `vmallocinfo`: range and size with the guard page behind, caller or `-`, pages, kind.
impl fmt::Display for AreaInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start, self.end());
        let kind = self.kind.name();
        write!(f, "{start:#018x}-{end:#018x} {:>8} ", end - start)?;
        match self.caller {
            Some(caller) => write!(f, "{caller}")?,
            None => f.write_str("-")?,
        }
        write!(f, " pages={} {kind}", self.pages)?;
        if self.populated < self.pages {
            write!(f, " populated={}", self.populated)?;
        }
        if self.huge_pages > 0 {
            write!(f, " huge={}", self.huge_pages / BLOCK_PAGES)?;
        }
        Ok(())
    }
}

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
    /// The kind that `kind as u64` made this number of.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        [Self::Vmalloc, Self::Vmap, Self::Ioremap, Self::VmMapRam, Self::Congruent]
            .into_iter()
            .find(|&kind| kind as u64 == number)
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

/// Whose the frames of an area are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The area's own: they were taken from the machine for it, and go back with it.
    Area,
    /// The caller's, or a device's: the area only shows them.
    Caller,
}
