//! What an area is: how it is mapped, and what is known of it.

pub(crate) mod birth;

use crate::{BLOCK_PAGES, PAGE_SIZE};
use birth::Birth;
use core::{fmt, panic::Location};

/// What is known of an allocated area, as [`find_area`](crate::Vmalloc::find_area) and
/// [`areas`](crate::Vmalloc::areas) report it. Sizes are counted in pages of 4 KiB.
#[doc(alias = "vm_struct")]
#[doc(alias = "vmap_area")]
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct AreaInfo {
    /// First address.
    pub start: usize,
    /// Pages, without guard pages.
    pub pages: usize,
    /// Guard pages behind the area: one, or none behind a mapping that `vm_map_ram` made inside a block.
    pub guard_pages: usize,
    /// Guard pages below the area, if they were [asked for](crate::Request::guard_below): one, or a block of them.
    pub guard_below: usize,
    /// How many of `pages` are mapped: all, unless the area is [congruent](Kind::Congruent).
    pub populated: usize,
    /// How many of `pages` are mapped by 2 MiB pages.
    pub huge_pages: usize,
    /// Bytes that were asked for.
    pub requested: usize,
    /// Which call made the area.
    pub kind: Kind,
    /// Who made that call, as the guard page's entry has it; `None` for an area without a guard page.
    pub caller: Option<&'static Location<'static>>,
    /// When the area was made, or last resized; `None` if `caller` is.
    pub made: Option<Birth>,
}

/// What [`for_each_area`](crate::Vmalloc::for_each_area) reports of an area, or of several side by side.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AreaSummary {
    /// Who asked for them, as [`AreaInfo::caller`] has it.
    pub caller: Option<&'static Location<'static>>,
    /// Which call made them.
    pub kind: Kind,
    /// How many areas there are.
    pub areas: usize,
    /// Pages of 4 KiB of all of them, without guard pages.
    pub pages: usize,
    /// When the oldest was made, as [`AreaInfo::made`] has it.
    pub oldest: Option<Birth>,
}

impl AreaInfo {
    /// Returns the first address past the area and the guard page behind it, if it has one.
    #[must_use]
    pub fn end(&self) -> usize {
        self.mapped_end() + self.guard_pages * PAGE_SIZE
    }

    /// Returns the first address of the guard pages below the area, which is [`start`](Self::start) if it has none.
    #[must_use]
    pub fn guard_start(&self) -> usize {
        self.start - self.guard_below * PAGE_SIZE
    }

    /// Returns the first address past the area's own pages: that of the guard page, if it has one.
    #[must_use]
    pub fn mapped_end(&self) -> usize {
        self.start + self.pages * PAGE_SIZE
    }
}

/// Writes a line as in Linux's `/proc/vmallocinfo`: range and size with the guard page behind, caller or `-`,
/// pages, kind; then how many pages are populated if not all are, and how many 2 MiB pages there are, if any.
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

/// Writes all that is known, the address in hexadecimal.
impl fmt::Debug for AreaInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, pages, guard_pages, guard_below, populated, .. } = self;
        f.debug_struct("AreaInfo")
            .field("start", &format_args!("{start:#x}"))
            .field("pages", pages)
            .field("guard_pages", guard_pages)
            .field("guard_below", guard_below)
            .field("populated", populated)
            .field("huge_pages", &self.huge_pages)
            .field("requested", &self.requested)
            .field("kind", &self.kind)
            .field("caller", &self.caller)
            .field("made", &self.made)
            .finish()
    }
}

/// Which call made an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// Memory that the area owns, from [`vmalloc`](crate::Vmalloc::vmalloc) and its relatives.
    #[doc(alias = "VM_ALLOC")]
    Vmalloc = 1,
    /// Frames that the caller owns, from [`vmap`](crate::Vmalloc::vmap).
    #[doc(alias = "VM_MAP")]
    Vmap = 2,
    /// Registers or memory of a device, from [`ioremap`](crate::Vmalloc::ioremap).
    #[doc(alias = "VM_IOREMAP")]
    Ioremap = 3,
    /// Frames that the caller owns, mapped for a short time, from [`vm_map_ram`](crate::Vmalloc::vm_map_ram).
    VmMapRam = 4,
    /// An area of a [`CongruentSet`](crate::CongruentSet), whose pages are populated and depopulated, from
    /// [`allocate_congruent`](crate::Vmalloc::allocate_congruent).
    Congruent = 5,
}

impl Kind {
    /// Returns who owns the frames of such an area.
    pub(crate) const fn owner(self) -> Owner {
        match self {
            Self::Vmalloc | Self::Congruent => Owner::Area,
            Self::Vmap | Self::Ioremap | Self::VmMapRam => Owner::Caller,
        }
    }

    /// Returns the kind whose `kind as u64` is this number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Vmalloc,
            2 => Self::Vmap,
            3 => Self::Ioremap,
            4 => Self::VmMapRam,
            5 => Self::Congruent,
            _ => return None,
        })
    }

    /// Returns the name of the call that frees such an area.
    #[must_use]
    pub fn freed_by(self) -> &'static str {
        match self {
            Self::Vmalloc => "vfree",
            Self::Vmap | Self::Ioremap => "vunmap",
            Self::VmMapRam => "vm_unmap_ram",
            Self::Congruent => "free_congruent",
        }
    }

    /// Returns the word that Linux's `/proc/vmallocinfo` has for the kind, such as `vmalloc` or `ioremap`.
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

/// Writes the kind's [name](Kind::name).
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What may be done with a page. No page is writable and executable at once.
#[doc(alias = "pgprot_t")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Protection {
    /// The page can be read and written.
    #[doc(alias = "PAGE_KERNEL")]
    #[default]
    ReadWrite,
    /// The page can be read.
    #[doc(alias = "PAGE_KERNEL_RO")]
    ReadOnly,
    /// The page can be read and executed.
    #[doc(alias = "PAGE_KERNEL_ROX")]
    ReadExecute,
    /// The page cannot be accessed: each access faults. It keeps its frame and contents. Only areas that own their
    /// frames have such pages, all of 4 KiB; an area with any cannot be [resized](crate::Vmalloc::vrealloc).
    #[doc(alias = "set_memory_np")]
    #[doc(alias = "PROT_NONE")]
    None,
}

/// Writes `read-write`, `read-only`, `read-execute` or `none`.
impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::ReadExecute => "read-execute",
            Self::None => "none",
        })
    }
}

/// How CPUs cache a page: its memory type (Intel SDM 3A, table 12-2). The type is that of an entry of the
/// [page attribute table](crate::Platform::page_attribute_table); if no entry has it, the page is not cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cache {
    /// Reads and writes are cached, as those of ordinary memory are.
    #[doc(alias = "ioremap_cache")]
    #[default]
    WriteBack,
    /// Reads are cached, writes go to memory at once.
    #[doc(alias = "ioremap_wt")]
    WriteThrough,
    /// Reads are not cached. Writes are gathered, and go to memory in bursts and in any order: for memory
    /// that is written a lot, such as a frame buffer. At reset the table has no such entry.
    #[doc(alias = "ioremap_wc")]
    WriteCombining,
    /// Neither reads nor writes are cached: for registers of devices.
    #[doc(alias = "ioremap_uc")]
    Uncached,
}

/// Writes `write-back`, `write-through`, `write-combining` or `uncached`.
impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteBack => "write-back",
            Self::WriteThrough => "write-through",
            Self::WriteCombining => "write-combining",
            Self::Uncached => "uncached",
        })
    }
}

/// Whose the frames of an area are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The area owns them: they were taken from the machine for it, and go back with it.
    Area,
    /// The caller or a device does: the area only maps them.
    Caller,
}
