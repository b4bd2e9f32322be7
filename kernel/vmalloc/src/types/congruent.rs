//! Sets of congruent areas, as they are asked for and named.

/// Areas in a set, at most.
pub const MAX_CONGRUENT: usize = crate::MAX_CPUS;

/// What one area of a set is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongruentArea {
    /// Bytes from the set's base to its first byte: a multiple of [`BLOCK_SIZE`](crate::BLOCK_SIZE).
    pub offset: usize,
    /// Its bytes; it ends with a guard page.
    pub size: usize,
}

/// Congruent areas that were allocated together. It names them, as an address does an area: a copy of it
/// is no other set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongruentSet {
    pub(crate) base: usize,
    /// The first block of the first area.
    pub(crate) first: usize,
}

impl CongruentSet {
    /// The address that the areas' offsets count from. What lies there is the set's only if an offset is 0.
    #[must_use]
    #[inline]
    pub fn base(self) -> usize {
        self.base
    }
}
