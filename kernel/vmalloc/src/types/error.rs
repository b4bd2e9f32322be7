//! Why a call was refused. A refused call has changed nothing.
//!
//! Each text is one line: what was asked for, what stood in the way, and what helps. `Debug` writes the same line, so that
//! `unwrap` shows it; no address is ever written in decimal.

use crate::{AreaInfo, Cache, Frame, Freed};
use core::{fmt, ops::Range, panic::Location};
use thiserror::Error;

/// Why an area was not made.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocError {
    /// An area of zero bytes was asked for.
    #[error("an area of 0 bytes was asked for: ask for one byte at least")]
    ZeroSize,
    /// The size and the guard pages together, in bytes, do not fit the instance's range.
    #[error(
        "{size} bytes and the guard pages do not fit the address range: make the instance over a longer one"
    )]
    TooLarge {
        /// Bytes asked for.
        size: usize,
    },
    /// The alignment is not a power of two.
    #[error("alignment {align} is not a power of two: `usize::next_power_of_two` gives one")]
    BadAlignment {
        /// The alignment asked for, in bytes.
        align: usize,
    },
    /// No free run of address space is long enough at this alignment, or inside the range that was asked for.
    #[error(
        "out of address space for {size} bytes aligned to {align:#x}: the longest free run has {longest} blocks of 2 MiB; \
         a smaller alignment, a wider `Request::within` or an instance over a longer range gives more"
    )]
    OutOfAddressSpace {
        /// Bytes asked for, in whole pages.
        size: usize,
        /// The alignment of the address, in bytes.
        align: usize,
        /// Blocks of 2 MiB in the longest free run of the instance's whole range, after the last attempt
        /// failed. Areas of less than 2 MiB may also lie in blocks that others partly use.
        longest: u32,
    },
    /// There were not enough frames for the area or for its page tables.
    #[error(
        "out of frames: {needed} or more are needed for the area and its page tables, {free} are free; free areas, or have a \
         purge notifier make other users of memory give some back (`Vmalloc::register_notifier`)"
    )]
    OutOfFrames {
        /// The least number of frames that the area and its page tables take if nothing is cached.
        needed: usize,
        /// Frames that were free after the last failure, by [`Platform::free_frames`](crate::Platform::free_frames).
        /// There may be as many as needed, if others gave them back since, or the machine does not count them.
        free: usize,
    },
    /// The range asked for holds no whole block of the instance's, or none but that of the guard page below.
    #[error(
        "{start:#x}..{end:#x} holds too few whole 2 MiB blocks of the vmalloc range: widen it; `range` tells the whole"
    )]
    BadRange {
        /// First address asked for.
        start: usize,
        /// End of the range asked for.
        end: usize,
    },
    /// Nothing is allocated, mapped or resized in an interrupt handler: the code it interrupted may hold any lock.
    #[error(
        "nothing can be allocated or mapped in an interrupt handler: do it in a thread, or beforehand; `vfree` is allowed"
    )]
    InInterrupt,
    /// No frames were given to map.
    #[error("no frames were given to map: give one for each page")]
    NoFrames,
    /// The CPUs have no such physical address: see [`Platform::physical_bits`](crate::Platform::physical_bits).
    #[error(
        "the CPUs have no physical address {frame}: `Platform::physical_bits` says how many bits they have"
    )]
    BadFrame {
        /// The first such frame of those that were given to map.
        frame: Frame,
    },
    /// The physical range wraps, or ends past the last physical address that the CPUs have.
    #[error(
        "{size} bytes at {start:#x} are no physical range of this machine: it must not wrap, nor exceed \
         `Platform::physical_bits`"
    )]
    BadPhysicalRange {
        /// First physical address asked for.
        start: u64,
        /// Bytes asked for.
        size: usize,
    },
    /// The physical range contains RAM, which is cached as such elsewhere: caching one frame in two ways is
    /// undefined (Intel SDM 3A, section 12.12.4).
    #[error(
        "{frame} is RAM, which the direct map shows cached: map it with `Cache::WriteBack`, or by `vmap`"
    )]
    CachedElsewhere {
        /// The first frame of RAM.
        frame: Frame,
    },
    /// The caller's frames cannot be mapped as [pages that nobody may access](crate::Protection::None).
    #[error("frames of the caller's are not mapped with Protection::None")]
    NoAccess,
    /// The machine's page attribute table has no entry that would do.
    #[error(
        "no entry of the page attribute table is {cache} or uncached: see Platform::page_attribute_table"
    )]
    NoMemoryType {
        /// What was asked for.
        cache: Cache,
    },
}

impl AllocError {
    /// No room, said by who does not know what for. What is public says so in the end.
    pub(crate) const NO_SPACE: Self = Self::OutOfAddressSpace { size: 0, align: 0, longest: 0 };
    /// No frames, as above.
    pub(crate) const NO_FRAMES: Self = Self::OutOfFrames { needed: 0, free: 0 };

    /// The reason alone, without the numbers of a shortage.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn reason(self) -> Self {
        match self {
            Self::OutOfAddressSpace { .. } => Self::NO_SPACE,
            Self::OutOfFrames { .. } => Self::NO_FRAMES,
            error => error,
        }
    }
}

// No result that holds an address got larger by what errors tell.
const _: () = assert!(size_of::<AllocError>() == 24);

/// Why an address could not be freed or unmapped, and the source line that asked. The library knows no threads.
#[derive(Clone, Copy, Error)]
#[non_exhaustive]
pub enum FreeError {
    /// Unlike `vfree`, which notes the area in a list, the call cannot be made in an interrupt handler.
    #[error(
        "{caller}: {address:#x} cannot be unmapped or resized in an interrupt handler: do it in a thread; `vfree` is \
         allowed"
    )]
    InInterrupt {
        /// The address of what was to be unmapped or resized.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The address is not in the instance's range.
    #[error(
        "{caller}: {address:#x} is outside the vmalloc range: `contains` tells which instance has an address"
    )]
    OutsideRange {
        /// The address that was to be freed.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// Nothing is allocated at the address: it never was, or it was freed before.
    #[error(
        "{caller}: nothing is allocated at {address:#x}: it never was, or was freed before; `set_remembered` tells who freed"
    )]
    NotAllocated {
        /// The address that was to be freed.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The area that started at the address was freed before, and that is remembered.
    #[error("{caller}: {address:#x} was freed before: {freed}")]
    FreedBefore {
        /// The address that was to be freed.
        address: usize,
        /// What it was, and who freed it.
        freed: Freed,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The address lies inside an area (or on its guard page), not at its start.
    #[error("{caller}: {address:#x} is not the start of its area, which is what to free: {area}")]
    InsideArea {
        /// The address that was to be freed.
        address: usize,
        /// The area it lies in.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The area was made by a call other than the one that this call undoes.
    #[error("{caller}: the area is of another kind, which `{}` frees: {area}", .area.kind.freed_by())]
    WrongKind {
        /// The area that starts at the address.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The number of pages to be unmapped is not that of the mapping.
    #[error("{caller}: {pages} pages are to be unmapped, and the whole mapping has {}: {area}", .area.pages)]
    WrongLength {
        /// Pages asked for.
        pages: usize,
        /// The mapping that starts at the address.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
}

/// Why an area could not be resized. The area is as it was.
#[derive(Clone, Copy, Error)]
#[non_exhaustive]
pub enum ReallocError {
    /// No area that owns its frames starts at the address.
    #[error(transparent)]
    Address(#[from] FreeError),
    /// There is no address space or no memory for the new size, or no area can have that size.
    #[error(transparent)]
    Size(#[from] AllocError),
    /// The area may have pages that [nobody may access](crate::Protection::None).
    #[error("{caller}: protect the whole of the area otherwise than by Protection::None first: {area}")]
    Inaccessible {
        /// The area.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
}

/// Why a protection could not be changed.
#[derive(Clone, Copy, Error)]
#[non_exhaustive]
pub enum ProtectError {
    /// An interrupt handler cannot wait until other CPUs observe the new protection.
    #[error("protections cannot be changed in an interrupt handler: do it in a thread")]
    InInterrupt,
    /// The address is not page-aligned, or the range is empty.
    #[error("{size} bytes at {start:#x} are no pages: begin at a multiple of 4096, with one byte at least")]
    BadRange {
        /// First address asked for.
        start: usize,
        /// Bytes asked for.
        size: usize,
    },
    /// Nothing is allocated at the address.
    #[error("nothing is allocated at {address:#x}: `find_area` tells what is at an address")]
    NotAllocated {
        /// First address asked for.
        address: usize,
    },
    /// The range extends past the mapped pages of the area that it starts in.
    #[error("the range ends behind its area, whose own pages end at {:#x}: {area}", .area.mapped_end())]
    BehindArea {
        /// The area.
        area: AreaInfo,
    },
    /// Pages of a congruent area come and go; they are always read-write. Only areas that own their frames
    /// can have pages that [nobody may access](crate::Protection::None).
    #[error("congruent areas stay read-write, and only vmalloc's can have Protection::None: {area}")]
    WrongKind {
        /// The area.
        area: AreaInfo,
    },
    /// There was no frame for the table that splits a 2 MiB page, to protect a part or make all inaccessible.
    #[error(
        "out of frames for the table that splits a 2 MiB page: allocate without `huge` what is to be protected"
    )]
    OutOfFrames,
}

/// Why congruent areas were not made.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CongruentError {
    /// No areas were asked for, or more than [`MAX_CONGRUENT`](crate::MAX_CONGRUENT).
    #[error("{count} areas cannot be congruent: ask for 1 to {}", crate::MAX_CONGRUENT)]
    BadCount {
        /// Areas asked for.
        count: usize,
    },
    /// An area's offset from the base is not a multiple of [`BLOCK_SIZE`](crate::BLOCK_SIZE).
    #[error("offset {offset:#x} is no multiple of 2 MiB (`BLOCK_SIZE`): round it up")]
    BadOffset {
        /// The offset asked for, in bytes.
        offset: usize,
    },
    /// An area begins before the end of the one listed before it, guard page included, in whole blocks.
    #[error(
        "area {index} begins in a 2 MiB block of the one before, guard page included: sort them, or move it up"
    )]
    Overlap {
        /// The index of the area that begins too early, counted from 0.
        index: usize,
    },
    /// The areas are refused for a reason that can apply to any area.
    #[error(transparent)]
    Refused(#[from] AllocError),
}

/// Why pages of congruent areas were not populated or depopulated.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PopulateError {
    /// The call takes locks, which the code that an interrupt handler interrupted may hold.
    #[error(
        "pages cannot be populated or depopulated in an interrupt handler: do it in a thread, or beforehand"
    )]
    InInterrupt,
    /// The set was freed, or belongs to another instance.
    #[error(
        "no congruent areas are allocated at {base:#x}: they were freed before, or are another instance's"
    )]
    NotAllocated {
        /// Base of the set.
        base: usize,
    },
    /// No area has any of the pages.
    #[error("no area has any of the pages {start}..{end}: pages count from the beginning of each area")]
    BadRange {
        /// First page asked for.
        start: usize,
        /// One past the last page asked for.
        end: usize,
    },
    /// A page has a frame already.
    #[error("{address:#x} has frames already: populate each page once, until it is depopulated")]
    Populated {
        /// The address of that page, or of one some pages before it.
        address: usize,
    },
    /// A page has no frame.
    #[error("{address:#x} lacks frames: depopulate only what was populated")]
    NotPopulated {
        /// The address of that page, or of one some pages before it.
        address: usize,
    },
    /// Frames ran out.
    #[error(
        "out of frames: the pages need {needed}, {free} are free; free areas, or have a purge notifier make other users of \
         memory give some back (`Vmalloc::register_notifier`)"
    )]
    OutOfFrames {
        /// Frames that the pages need if nothing is cached.
        needed: usize,
        /// Frames that were free after the last attempt failed.
        free: usize,
    },
}

impl PopulateError {
    /// No frames, said by who does not know for how many pages.
    pub(crate) const NO_FRAMES: Self = Self::OutOfFrames { needed: 0, free: 0 };
}

/// Why an instance could not be made.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NewError {
    /// The range is empty, starts at address 0, is longer than [`MAX_RANGE`](crate::MAX_RANGE), or its ends are not
    /// multiples of [`BLOCK_SIZE`](crate::BLOCK_SIZE).
    #[error(
        "{0:#x?} is no range of whole 2 MiB blocks above address 0, 32 TiB at most: round its ends to `BLOCK_SIZE`"
    )]
    BadRange(Range<usize>),
    /// The range is not in one half of the address space: bits 63 to 47 of its addresses are not all alike,
    /// and CPUs have no addresses in which they differ.
    #[error(
        "{0:#x?} is not in one half of the address space: bits 63 to 47 of all its addresses must be alike (page tables \
         of four levels)"
    )]
    NotCanonical(Range<usize>),
    /// A page of the range is mapped, or its entry is not zero, or a leaf table is there: the range is somebody's,
    /// perhaps an instance's that lives or lost areas, or the kernel's image or direct map. Choose another one.
    #[error(
        "{address:#x} is in use: its page table entry is {entry:#x}; an instance needs a range that nobody uses"
    )]
    InUse {
        /// The lowest such address.
        address: usize,
        /// The entry: that of a page of 4 KiB, 2 MiB or 1 GiB, or that of the leaf table.
        entry: u64,
    },
    /// No frame was available for the page tables at the top of the range, or for the instance's records.
    #[error("out of frames for the page tables at the top of the range: `Platform::take_table` gave none")]
    OutOfFrames,
}

/// Has `Debug` write what `Display` does.
macro_rules! debug_as_display {
    ($($error:ty),*) => {$(
        impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

debug_as_display!(AllocError, FreeError, ReallocError, ProtectError, CongruentError, PopulateError, NewError);
