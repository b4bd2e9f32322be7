//! Why a call was refused. A refused call has changed nothing.

use crate::info::AreaInfo;
use core::fmt;

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
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroSize => write!(f, "zero size"),
            Self::TooLarge { size } => write!(f, "{size} bytes do not fit the address range"),
            Self::BadAlignment { align } => write!(f, "alignment {align} is not a power of two"),
            Self::OutOfAddressSpace => write!(f, "out of address space"),
            Self::OutOfFrames => write!(f, "out of frames"),
        }
    }
}

impl core::error::Error for AllocError {}

/// Why an address could not be freed.
#[derive(Clone, Copy, Debug)]
pub enum FreeError {
    /// The address is not in the instance's range.
    OutsideRange {
        /// What was asked to be freed.
        address: usize,
    },
    /// Nothing is allocated at the address: it never was, or it was freed before.
    NotAllocated {
        /// What was asked to be freed.
        address: usize,
    },
    /// The address lies inside an area (or on its guard page), not at its start.
    InsideArea {
        /// What was asked to be freed.
        address: usize,
        /// The area it lies in.
        area: AreaInfo,
    },
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideRange { address } => write!(f, "{address:#x} is outside the vmalloc range"),
            Self::NotAllocated { address } => write!(f, "nothing is allocated at {address:#x}"),
            Self::InsideArea { address, area } => {
                write!(f, "{address:#x} is not the start of its area, {area}")
            }
        }
    }
}

impl core::error::Error for FreeError {}

/// Why an instance could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewError {
    /// The range is empty, longer than [`MAX_RANGE`](crate::MAX_RANGE), or its ends are not
    /// multiples of [`BLOCK_SIZE`](crate::BLOCK_SIZE).
    BadRange(core::ops::Range<usize>),
    /// No frame was to be had for the page tables at the top of the range.
    OutOfFrames,
}

impl fmt::Display for NewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => {
                write!(f, "{:#x}..{:#x} is no range of whole 2 MiB blocks", range.start, range.end)
            }
            Self::OutOfFrames => write!(f, "out of frames"),
        }
    }
}

impl core::error::Error for NewError {}
