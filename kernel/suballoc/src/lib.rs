//! Small objects in the pages of chunks: which bytes are used. Pure bookkeeping, for memory that the
//! owner has many copies of, and that is populated with frames page by page.
//!
//! ```text
//! space ──▶ chunks, up to 256
//!   chunk     511 pages: which are used, which have frames
//!     row     a page that objects share: a bit for each granule of 16 bytes
//! bins ──▶ rows, by the length of their longest free run
//! ```
//!
//! An object of up to a page lies in one page; a larger one has pages of its own. A row for an object is one
//! out of the bins in which any row is sure to have an aligned place. Only if these are empty a few others
//! are tried, then a page is opened: one with a frame first, in the lowest chunk that has any. A row of which
//! an allocation finds that its longest run has no aligned place any more is moved to the right bin, up to
//! eight for each allocation. So the search does not depend on how many objects there are.
//!
//! What takes time, frames and chunks, is left to the owner, outside of whatever lock is around the
//! [`Space`]: pages are *reserved*, and nobody else can have them until they are populated or given up.
#![no_std]

extern crate alloc;

mod bins;
mod bits;
mod chunk;
mod row;
mod size;
mod space;
#[cfg(test)]
mod tests;

pub use chunk::Chunk;
pub use row::GRANULE;
pub use size::{Size, SizeError};
pub use space::{Given, Place, Reserved, Space, Taken};

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
/// Pages of a unit, a chunk's memory.
pub const PAGES: usize = 511;
/// Bytes of a unit.
pub const UNIT_SIZE: usize = PAGES * PAGE_SIZE;
/// Chunks in a space, at most.
pub const CHUNKS: usize = 256;

/// No row: the end of a list.
const NONE: u32 = u32::MAX;
