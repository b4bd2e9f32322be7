//! What is at an address, in words.

pub(crate) mod freed;
pub(crate) mod overrun;

use super::area::{AreaInfo, Kind, Protection};
use core::fmt;
use freed::Freed;

/// What is at an address, as [`whatis`](crate::Vmalloc::whatis) finds it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Whatis {
    /// The address.
    pub address: usize,
    /// What is there now.
    pub place: Place,
    /// The area freed last, of those that are remembered and had the address.
    pub was: Option<Freed>,
    /// The nearest area below, if there is one in the same block of 2 MiB or at the end of the one below.
    pub below: Option<AreaInfo>,
    /// The nearest area above, if there is one in the same block or at the start of the one above.
    pub above: Option<AreaInfo>,
}

/// What is at an address now.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Place {
    /// The address is not in the instance's range.
    OutsideRange,
    /// It is in an area.
    Area {
        /// The area.
        area: AreaInfo,
        /// What may be done with the page; `None` if it is not populated.
        protection: Option<Protection>,
    },
    /// It is on the guard page behind an area.
    GuardBehind {
        /// The area.
        area: AreaInfo,
    },
    /// It is in the guard pages below an area.
    GuardBelow {
        /// The area.
        area: AreaInfo,
    },
    /// It is in a page of no area, in a block that small areas share: free, parked, or waiting for a flush.
    FreePage,
    /// It is in the blocks of a freed area, which are cached for another one of as many blocks.
    CachedRun,
    /// It is in blocks that were freed and wait for a flush.
    FreedBlocks,
    /// It is in a block of no area.
    FreeBlock,
}

/// Writes a phrase that continues a sentence such as "it is", and the neighbours on lines of their own.
impl fmt::Display for Whatis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, place, was, below, above } = self;
        match place {
            Place::OutsideRange => return f.write_str("outside of the vmalloc range"),
            Place::Area { area, protection } => {
                let (offset, size) = (address - area.start, area.requested);
                write!(f, "in {area}, {offset} bytes behind its start")?;
                // What `ioremap` did not ask for may lie at both ends.
                if area.kind != Kind::Ioremap && offset >= size {
                    write!(f, ", which is {} bytes behind the {size} that were asked for", offset - size)?;
                }
                match protection {
                    Some(protection) => write!(f, ", {protection}")?,
                    None => f.write_str(", on a page that is not populated")?,
                }
            }
            Place::GuardBehind { area } => {
                write!(
                    f,
                    "in the guard page of {area}, {} bytes behind its end",
                    address - area.mapped_end()
                )?;
            }
            Place::GuardBelow { area } => {
                write!(f, "in the guard page below {area}, {} bytes before its start", area.start - address)?;
            }
            Place::FreePage => f.write_str("in a page that no area has")?,
            Place::CachedRun => {
                f.write_str("in the blocks of a freed area, cached for the next one of that length")?
            }
            Place::FreedBlocks => f.write_str("in freed blocks that wait for a flush")?,
            Place::FreeBlock => f.write_str("in a block that no area has")?,
        }
        if let Some(was) = was {
            write!(f, "; what was there before is {was}")?;
        }
        if let Some(below) = below {
            write!(f, "\n  below  {below}")?;
        }
        if let Some(above) = above {
            write!(f, "\n  above  {above}")?;
        }
        Ok(())
    }
}
