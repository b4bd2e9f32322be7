//! Why a call was refused. A refused call has changed nothing.

use crate::{AreaInfo, Cache, Frame};
use core::{ops::Range, panic::Location};
use thiserror::Error;

/// Why there is no new area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AllocError {
    /// An area of zero bytes was asked for.
    #[error("zero size")]
    ZeroSize,
    /// Size and guard page together, in bytes, do not fit the instance's range.
    #[error("{size} bytes do not fit the address range")]
    TooLarge {
        /// Bytes asked for.
        size: usize,
    },
    /// The alignment is not a power of two.
    #[error("alignment {align} is not a power of two")]
    BadAlignment {
        /// Bytes asked for.
        align: usize,
    },
    /// No free run of address space is long enough at this alignment.
    #[error("out of address space")]
    OutOfAddressSpace,
    /// Frames, for the area or for its page tables, ran out.
    #[error("out of frames")]
    OutOfFrames,
    /// The range asked for holds no whole block of the instance's range.
    #[error("{start:#x}..{end:#x} holds no whole 2 MiB block of the vmalloc range")]
    BadRange {
        /// First address asked for.
        start: usize,
        /// End of the range asked for.
        end: usize,
    },
    /// Nothing is allocated, mapped or resized in an interrupt handler: the code it interrupted may hold any lock.
    #[error("nothing can be allocated in an interrupt handler")]
    InInterrupt,
    /// No frames were given to map.
    #[error("no frames to map")]
    NoFrames,
    /// The CPUs have no such physical address: see [`Platform::physical_bits`](crate::Platform::physical_bits).
    #[error("the CPUs have no physical address {:#x}", .frame.address())]
    BadFrame {
        /// The first such frame of those that were given to map.
        frame: Frame,
    },
    /// The physical range wraps, or ends behind the last physical address that the CPUs have.
    #[error("{size} bytes at {start:#x} are no physical range of this machine")]
    BadPhysicalRange {
        /// First physical address asked for.
        start: u64,
        /// Bytes asked for.
        size: usize,
    },
    /// There is RAM in the physical range, which is cached as such elsewhere: one frame cached in two ways is
    /// undefined (Intel SDM 3A, section 12.12.4).
    #[error("{:#x} is RAM, which is cached as RAM elsewhere", .frame.address())]
    CachedElsewhere {
        /// The first frame of RAM.
        frame: Frame,
    },
    /// Frames of the caller's cannot be mapped as [pages that nobody may access](crate::Protection::None).
    #[error("frames of the caller's are not mapped with Protection::None")]
    NoAccess,
    /// The page attribute table that the machine tells of has no entry that would do.
    #[error(
        "no entry of the page attribute table is {cache:?} or uncached: see Platform::page_attribute_table"
    )]
    NoMemoryType {
        /// What was asked for.
        cache: Cache,
    },
}

/// Why an address could not be freed or unmapped, and the source line that asked. The library knows no threads.
#[derive(Clone, Copy, Debug, Error)]
pub enum FreeError {
    /// What is not noted in a list, as frees are, cannot be done in an interrupt handler.
    #[error("{caller}: {address:#x} cannot be unmapped or resized in an interrupt handler")]
    InInterrupt {
        /// What was to be unmapped or resized.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The address is not in the instance's range.
    #[error("{caller}: {address:#x} is outside the vmalloc range")]
    OutsideRange {
        /// What was asked to be freed.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// Nothing is allocated at the address: it never was, or it was freed before.
    #[error("{caller}: nothing is allocated at {address:#x}")]
    NotAllocated {
        /// What was asked to be freed.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The address lies inside an area (or on its guard page), not at its start.
    #[error("{caller}: {address:#x} is not the start of its area, {area}")]
    InsideArea {
        /// What was asked to be freed.
        address: usize,
        /// The area it lies in.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The area was made by another call than the one that this call undoes.
    #[error("{caller}: the area is of another kind: {area}")]
    WrongKind {
        /// The area that starts at the address.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The mapping has another number of pages than was asked to be unmapped.
    #[error("{caller}: {pages} pages are to be unmapped of {area}")]
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
#[derive(Clone, Copy, Debug, Error)]
pub enum ReallocError {
    /// No area that owns its frames starts at the address.
    #[error(transparent)]
    Address(#[from] FreeError),
    /// There is no address space or no memory for the new size, or it is no size of an area.
    #[error(transparent)]
    Size(#[from] AllocError),
    /// Pages of the area may be such as [nobody may access](crate::Protection::None).
    #[error("{caller}: protect the whole of the area otherwise than by Protection::None first: {area}")]
    Inaccessible {
        /// The area.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
}

/// Why a protection could not be changed.
#[derive(Clone, Copy, Debug, Error)]
pub enum ProtectError {
    /// An interrupt handler cannot wait until other CPUs go by the new protection.
    #[error("protections cannot be changed in an interrupt handler")]
    InInterrupt,
    /// The address is not page-aligned, or the range is empty.
    #[error("{size} bytes at {start:#x} are no pages")]
    BadRange {
        /// First address asked for.
        start: usize,
        /// Bytes asked for.
        size: usize,
    },
    /// Nothing is allocated at the address.
    #[error("nothing is allocated at {address:#x}")]
    NotAllocated {
        /// First address asked for.
        address: usize,
    },
    /// The range goes on behind the mapped pages of the area it starts in.
    #[error("the range ends behind its area, {area}")]
    BehindArea {
        /// The area.
        area: AreaInfo,
    },
    /// Pages of a congruent area come and go; they are always read and written. Only those of areas that own their frames
    /// can be such as [nobody may access](crate::Protection::None).
    #[error("protections of this kind of area stay: {area}")]
    WrongKind {
        /// The area.
        area: AreaInfo,
    },
    /// No frame for the table that splits a 2 MiB page, of which a part is to be protected, or all of it from every access.
    #[error("out of frames")]
    OutOfFrames,
}

/// Why there are no congruent areas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CongruentError {
    /// No areas were asked for, or more than [`MAX_CONGRUENT`](crate::MAX_CONGRUENT).
    #[error("{count} areas cannot be congruent")]
    BadCount {
        /// Areas asked for.
        count: usize,
    },
    /// An area does not begin a multiple of [`BLOCK_SIZE`](crate::BLOCK_SIZE) behind the base.
    #[error("offset {offset:#x} is no multiple of 2 MiB")]
    BadOffset {
        /// Bytes asked for.
        offset: usize,
    },
    /// An area begins before the one in front of it in the list ends, its guard page included: in blocks.
    #[error("area {index} begins in a block of the one before")]
    Overlap {
        /// Which one, counted from 0.
        index: usize,
    },
    /// The areas are refused for a reason for which any area may be.
    #[error(transparent)]
    Refused(#[from] AllocError),
}

/// Why pages of congruent areas were not populated or depopulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PopulateError {
    /// Locks are taken for it, which the code that an interrupt handler interrupted may hold.
    #[error("pages cannot be populated or depopulated in an interrupt handler")]
    InInterrupt,
    /// The set was freed, or is another instance's.
    #[error("no congruent areas are allocated at {base:#x}")]
    NotAllocated {
        /// Base of the set.
        base: usize,
    },
    /// No area has any of the pages.
    #[error("no area has any of the pages {start}..{end}")]
    BadRange {
        /// First page asked for.
        start: usize,
        /// Behind the last one.
        end: usize,
    },
    /// There is a frame there already.
    #[error("{address:#x} has frames already")]
    Populated {
        /// Where, or some pages before.
        address: usize,
    },
    /// There is no frame there.
    #[error("{address:#x} lacks frames")]
    NotPopulated {
        /// Where, or some pages before.
        address: usize,
    },
    /// Frames ran out.
    #[error("out of frames")]
    OutOfFrames,
}

/// Why an instance could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NewError {
    /// The range is empty, longer than [`MAX_RANGE`](crate::MAX_RANGE), or its ends are not
    /// multiples of [`BLOCK_SIZE`](crate::BLOCK_SIZE).
    #[error("{0:#x?} is no range of whole 2 MiB blocks")]
    BadRange(Range<usize>),
    /// The range is not in one half of the address space: bits 63 to 47 of its addresses are not all alike, and no
    /// CPU has those where they are not.
    #[error("{0:#x?} is not all canonical addresses of one half")]
    NotCanonical(Range<usize>),
    /// A page of the range is mapped, or its page table entry holds something: the range is somebody's, an instance's that
    /// lives or lost areas perhaps, or the kernel's image or direct map. Choose another one.
    #[error(
        "{address:#x} is in use: its page table entry is {entry:#x}; an instance needs a range that nobody uses"
    )]
    InUse {
        /// The lowest such address.
        address: usize,
        /// The entry, of a page of 4 KiB, 2 MiB or 1 GiB.
        entry: u64,
    },
    /// No frame was to be had for the page tables at the top of the range.
    #[error("out of frames")]
    OutOfFrames,
}
