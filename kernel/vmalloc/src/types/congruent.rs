//! Sets of congruent areas: what one is asked to be, and the name of one that was allocated.

use core::fmt;

/// The maximum number of areas in a set.
pub const MAX_CONGRUENT: usize = 64;

/// What is asked of one area of a set: where it starts and how long it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongruentArea {
    /// Bytes from the set's base to its first byte: a multiple of [`BLOCK_SIZE`](crate::BLOCK_SIZE).
    pub offset: usize,
    /// Bytes of the area, without the guard page behind it.
    pub size: usize,
}

/// Identifies congruent areas that were allocated together, as an address identifies an area: a copy
/// identifies the same set, and is useless once the set is freed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CongruentSet {
    pub(crate) base: usize,
    /// The first block of the first area.
    pub(crate) first: usize,
}

impl CongruentSet {
    /// Returns the address that the areas' offsets count from. An area starts there only if an offset is 0.
    #[must_use]
    #[inline]
    pub fn base(self) -> usize {
        self.base
    }
}

impl fmt::Debug for CongruentSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CongruentSet({:#x})", self.base)
    }
}
