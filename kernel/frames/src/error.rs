//! Why frames are refused when they are given back.

use crate::block::{Block, MAX_ORDER};
use core::error::Error;
use core::fmt;

/// Why frames were not taken into the allocator. Whatever is returned, the frames that
/// the error is about were left as they were.
///
/// What cannot be told, because the allocator holds no bit for it: frames of a hole in
/// the span that were never added, and frames that one owner frees while another holds
/// them. Both look like any allocated frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeError {
    /// A frame lies outside the span that the allocator was made for.
    OutsideSpan {
        /// Page frame number of the lowest offending frame.
        frame: u64,
    },
    /// The first frame is not a multiple of the block's length.
    Misaligned {
        /// Page frame number that was given.
        first_frame: u64,
        /// Order that was given.
        order: usize,
    },
    /// There is no block of this order.
    OrderTooLarge {
        /// Order that was given, above [`MAX_ORDER`].
        order: usize,
    },
    /// Freed twice: all or a part of it is free already.
    AlreadyFree {
        /// The block that was being freed.
        block: Block,
        /// The free block that it lies in, equals or contains.
        found: Block,
    },
    /// More frames would be free than were ever added, so some of these never were.
    NeverAdded {
        /// How many frames were being freed.
        frames: u64,
        /// How many frames were allocated at that time.
        allocated: u64,
    },
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideSpan { frame } => write!(f, "frame {frame:#x} is outside the allocator's span"),
            Self::Misaligned { first_frame, order } => {
                write!(f, "frame {first_frame:#x} is not aligned to order {order}")
            }
            Self::OrderTooLarge { order } => write!(f, "order {order} is above {MAX_ORDER}"),
            Self::AlreadyFree { block, found } => {
                write!(f, "block of {block} freed again: block of {found} is free")
            }
            Self::NeverAdded { frames, allocated } => {
                write!(f, "{frames} frames freed, but only {allocated} are allocated")
            }
        }
    }
}

impl Error for FreeError {}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::ToString;

    #[test]
    fn a_message_names_what_was_given_and_what_was_found() {
        let error = FreeError::AlreadyFree {
            block: Block { first_frame: 0x41, order: 0 },
            found: Block { first_frame: 0x40, order: 3 },
        };
        assert_eq!(
            error.to_string(),
            "block of order 0 at frame 0x41 freed again: block of order 3 at frame 0x40 is free"
        );
        assert_eq!(FreeError::OrderTooLarge { order: 11 }.to_string(), "order 11 is above 10");
    }
}
