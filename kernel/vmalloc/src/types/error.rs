//! Why a call was refused. A refused call has changed nothing.

use crate::{AreaInfo, Frame};
use core::{fmt, panic::Location};

/// Why there is no new area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocError {
    /// An area of zero bytes was asked for.
    ZeroSize,
    /// Size and guard page together, in bytes, do not fit the instance's range.
    TooLarge {
        /// Bytes asked for.
        size: usize,
    },
    /// The alignment is not a power of two.
    BadAlignment {
        /// Bytes asked for.
        align: usize,
    },
    /// No free run of address space is long enough at this alignment.
    OutOfAddressSpace,
    /// Frames, for the area or for its page tables, ran out.
    OutOfFrames,
    /// The range asked for holds no whole block of the instance's range.
    BadRange {
        /// First address asked for.
        start: usize,
        /// End of the range asked for.
        end: usize,
    },
    /// Nothing is allocated, mapped or resized in an interrupt handler: the code it interrupted may hold any lock.
    InInterrupt,
    /// No frames were given to map.
    NoFrames,
    /// The CPUs have no such physical address: see [`Platform::physical_bits`](crate::Platform::physical_bits).
    BadFrame {
        /// The first such frame of those that were given to map.
        frame: Frame,
    },
    /// The physical range wraps, or ends behind the last physical address that the CPUs have.
    BadPhysicalRange {
        /// First physical address asked for.
        start: u64,
        /// Bytes asked for.
        size: usize,
    },
    /// There is RAM in the physical range, which is cached as such elsewhere: one frame cached in two ways is
    /// undefined (Intel SDM 3A, section 12.12.4).
    CachedElsewhere {
        /// The first frame of RAM.
        frame: Frame,
    },
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroSize => write!(f, "zero size"),
            Self::TooLarge { size } => write!(f, "{size} bytes do not fit the address range"),
            Self::BadAlignment { align } => write!(f, "alignment {align} is not a power of two"),
            Self::OutOfAddressSpace => write!(f, "out of address space"),
            Self::OutOfFrames => write!(f, "out of frames"),
            Self::BadRange { start, end } => {
                write!(f, "{start:#x}..{end:#x} holds no whole 2 MiB block of the vmalloc range")
            }
            Self::InInterrupt => write!(f, "nothing can be allocated in an interrupt handler"),
            Self::NoFrames => write!(f, "no frames to map"),
            Self::BadPhysicalRange { start, size } => {
                write!(f, "{size} bytes at {start:#x} are no physical range of this machine")
            }
            Self::BadFrame { frame } => {
                write!(f, "the CPUs have no physical address {:#x}", frame.address())
            }
            Self::CachedElsewhere { frame } => {
                write!(f, "{:#x} is RAM, which is cached as RAM elsewhere", frame.address())
            }
        }
    }
}

impl core::error::Error for AllocError {}

/// Why an address could not be freed or unmapped, and who asked for it.
#[derive(Clone, Copy, Debug)]
pub enum FreeError {
    /// What is not noted in a list, as frees are, cannot be done in an interrupt handler.
    InInterrupt {
        /// What was to be unmapped or resized.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The address is not in the instance's range.
    OutsideRange {
        /// What was asked to be freed.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// Nothing is allocated at the address: it never was, or it was freed before.
    NotAllocated {
        /// What was asked to be freed.
        address: usize,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The address lies inside an area (or on its guard page), not at its start.
    InsideArea {
        /// What was asked to be freed.
        address: usize,
        /// The area it lies in.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The area was made by another call than the one that this call undoes.
    WrongKind {
        /// The area that starts at the address.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
    /// The mapping has another number of pages than was asked to be unmapped.
    WrongLength {
        /// Pages asked for.
        pages: usize,
        /// The mapping that starts at the address.
        area: AreaInfo,
        /// Who asked.
        caller: &'static Location<'static>,
    },
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InInterrupt { address, caller } => {
                write!(f, "{caller}: {address:#x} cannot be unmapped or resized in an interrupt handler")
            }
            Self::OutsideRange { address, caller } => {
                write!(f, "{caller}: {address:#x} is outside the vmalloc range")
            }
            Self::NotAllocated { address, caller } => {
                write!(f, "{caller}: nothing is allocated at {address:#x}")
            }
            Self::InsideArea { address, area, caller } => {
                write!(f, "{caller}: {address:#x} is not the start of its area, {area}")
            }
            Self::WrongKind { area, caller } => write!(f, "{caller}: the area is of another kind: {area}"),
            Self::WrongLength { pages, area, caller } => {
                write!(f, "{caller}: {pages} pages are to be unmapped of {area}")
            }
        }
    }
}

impl core::error::Error for FreeError {}

/// Why an area could not be resized.
#[derive(Clone, Copy, Debug)]
pub enum ReallocError {
    /// There is no area of its own memory at the address.
    Address(FreeError),
    /// There is no room, no memory, or no sense in the new size. The area is as it was.
    Size(AllocError),
}

impl From<FreeError> for ReallocError {
    fn from(error: FreeError) -> Self {
        Self::Address(error)
    }
}

impl From<AllocError> for ReallocError {
    fn from(error: AllocError) -> Self {
        Self::Size(error)
    }
}

impl fmt::Display for ReallocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Size(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReallocError {}

/// Why a protection could not be changed.
#[derive(Clone, Copy, Debug)]
pub enum ProtectError {
    /// An interrupt handler cannot wait until other CPUs go by the new protection.
    InInterrupt,
    /// The address is not page-aligned, or the range is empty.
    BadRange {
        /// First address asked for.
        start: usize,
        /// Bytes asked for.
        size: usize,
    },
    /// Nothing is allocated at the address.
    NotAllocated {
        /// First address asked for.
        address: usize,
    },
    /// The range goes on behind the mapped pages of the area it starts in.
    BehindArea {
        /// The area.
        area: AreaInfo,
    },
    /// Pages of a congruent area come and go; they are always read and written.
    WrongKind {
        /// The area.
        area: AreaInfo,
    },
    /// No frame for the table that splits a 2 MiB page.
    OutOfFrames,
}

impl fmt::Display for ProtectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InInterrupt => write!(f, "protections cannot be changed in an interrupt handler"),
            Self::BadRange { start, size } => write!(f, "{size} bytes at {start:#x} are no pages"),
            Self::NotAllocated { address } => write!(f, "nothing is allocated at {address:#x}"),
            Self::BehindArea { area } => write!(f, "the range ends behind its area, {area}"),
            Self::WrongKind { area } => write!(f, "protections of this kind of area stay: {area}"),
            Self::OutOfFrames => write!(f, "out of frames"),
        }
    }
}

impl core::error::Error for ProtectError {}

/// Why there are no congruent areas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CongruentError {
    /// No areas were asked for, or more than [`MAX_CONGRUENT`](crate::MAX_CONGRUENT).
    BadCount {
        /// Areas asked for.
        count: usize,
    },
    /// An area does not begin a multiple of [`BLOCK_SIZE`](crate::BLOCK_SIZE) behind the base.
    BadOffset {
        /// Bytes asked for.
        offset: usize,
    },
    /// An area begins before the one in front of it in the list ends, its guard page included: in blocks.
    Overlap {
        /// Which one, counted from 0.
        index: usize,
    },
    /// As any area.
    Refused(AllocError),
}

impl From<AllocError> for CongruentError {
    fn from(error: AllocError) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for CongruentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCount { count } => write!(f, "{count} areas cannot be congruent"),
            Self::BadOffset { offset } => write!(f, "offset {offset:#x} is no multiple of 2 MiB"),
            Self::Overlap { index } => write!(f, "area {index} begins in a block of the one before"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CongruentError {}

/// Why pages of congruent areas were not populated or depopulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopulateError {
    /// Locks are taken for it, which the code that an interrupt handler interrupted may hold.
    InInterrupt,
    /// The set was freed, or is another instance's.
    NotAllocated {
        /// Its base.
        base: usize,
    },
    /// No area has any of the pages.
    BadRange {
        /// First page asked for.
        start: usize,
        /// Behind the last one.
        end: usize,
    },
    /// There is a frame there already.
    Populated {
        /// Where, or some pages before.
        address: usize,
    },
    /// There is no frame there.
    NotPopulated {
        /// Where, or some pages before.
        address: usize,
    },
    /// Frames ran out.
    OutOfFrames,
}

impl fmt::Display for PopulateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InInterrupt => {
                write!(f, "pages cannot be populated or depopulated in an interrupt handler")
            }
            Self::NotAllocated { base } => write!(f, "no congruent areas are allocated at {base:#x}"),
            Self::BadRange { start, end } => write!(f, "no area has any of the pages {start}..{end}"),
            Self::Populated { address } => write!(f, "{address:#x} has frames already"),
            Self::NotPopulated { address } => write!(f, "{address:#x} lacks frames"),
            Self::OutOfFrames => write!(f, "out of frames"),
        }
    }
}

impl core::error::Error for PopulateError {}

/// Why an instance could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewError {
    /// The range is empty, longer than [`MAX_RANGE`](crate::MAX_RANGE), or its ends are not
    /// multiples of [`BLOCK_SIZE`](crate::BLOCK_SIZE).
    BadRange(core::ops::Range<usize>),
    /// The range is not in one half of the address space: bits 63 to 47 of its addresses are not all alike, and no
    /// CPU has those where they are not.
    NotCanonical(core::ops::Range<usize>),
    /// No frame was to be had for the page tables at the top of the range.
    OutOfFrames,
}

impl fmt::Display for NewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => {
                write!(f, "{:#x}..{:#x} is no range of whole 2 MiB blocks", range.start, range.end)
            }
            Self::NotCanonical(range) => {
                write!(f, "{:#x}..{:#x} is not all canonical addresses of one half", range.start, range.end)
            }
            Self::OutOfFrames => write!(f, "out of frames"),
        }
    }
}

impl core::error::Error for NewError {}
