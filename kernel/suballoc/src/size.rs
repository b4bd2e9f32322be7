//! What objects can be asked for.

use crate::{GRANULE, PAGE_SIZE, UNIT_SIZE};
use core::{alloc::Layout, fmt};

/// The room that an object takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub(crate) Room);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// In a page that it shares with others: granules, and of how many its first is a multiple.
    Granules { count: usize, align: usize },
    /// Whole pages.
    Pages(usize),
}

/// Why there can be no such object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// It has no bytes.
    Zero,
    /// It is longer than a unit.
    TooLarge {
        /// Bytes asked for.
        size: usize,
    },
    /// It is to be aligned to more than a page.
    BadAlignment {
        /// Bytes asked for.
        align: usize,
    },
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => write!(f, "zero size"),
            Self::TooLarge { size } => write!(f, "{size} bytes are more than a unit of {UNIT_SIZE}"),
            Self::BadAlignment { align } => write!(f, "alignment {align} is above a page"),
        }
    }
}

impl core::error::Error for SizeError {}

impl Size {
    /// The room for a layout.
    ///
    /// # Errors
    /// See [`SizeError`].
    #[inline]
    pub fn of(layout: Layout) -> Result<Self, SizeError> {
        let (size, align) = (layout.size(), layout.align());
        if align > PAGE_SIZE {
            return Err(SizeError::BadAlignment { align });
        }
        match size {
            0 => Err(SizeError::Zero),
            1..=PAGE_SIZE => {
                let align = (align / GRANULE).max(1);
                Ok(Self(Room::Granules { count: size.div_ceil(GRANULE), align }))
            }
            _ if size <= UNIT_SIZE => Ok(Self(Room::Pages(size.div_ceil(PAGE_SIZE)))),
            _ => Err(SizeError::TooLarge { size }),
        }
    }
}
