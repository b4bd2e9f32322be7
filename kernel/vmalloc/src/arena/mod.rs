//! The arena: which blocks of the range are free. It finds the lowest run of free blocks that fits.
//!
//! ```text
//! search start ──▶ first block that may be free
//! top              a tree of maxima over the maps: where a run of n blocks may end
//!   map            32 GiB of blocks in one frame: a tree of free runs over the ...
//!     leaf         ... 128 bits, one for each block: set while it is used
//! ```
//!
//! A missing map means that all its blocks are free, so an instance of 32 TiB costs one frame for each 32 GiB
//! in which it uses something. Runs may cross maps.
//!
//! The search starts at a cached block below which all are used (the idea of the 2010 thread "cache last free
//! vmap_area to avoid restarting beginning"); what piles up there is not walked again. The start is only ever
//! raised past blocks that are used and lowered to blocks that are freed, so placement is exactly that of a
//! first fit without a cached start. The trees skip what lies above the start and is too short: a search
//! examines 40 nodes at most, however many runs there are. Two kinds of request may examine more: one aligned
//! to more than a block, every run that is long enough but has no aligned place; and one of more than 32 GiB,
//! every map.
//!
//! A block that is taken or freed changes its leaf alone. The trees above are updated when a search needs
//! them or when another leaf changes, so that many changes of a leaf cost one path.
//!
//! Lock: the arena's own, the first in the order (arena, pool, block). It is taken once for each run of
//! blocks, once more for each map if a run crosses maps, and once more each time a search has taken as many
//! steps as one hold may have. No memory is allocated under it.

mod map;
mod maps;
mod search;
mod shared;
mod state;
#[cfg(all(test, not(loom)))]
mod tests;
mod top;

pub(crate) use search::{Part, Wanted};
pub(crate) use shared::Arena;
pub(crate) use state::MAX_BLOCKS;
