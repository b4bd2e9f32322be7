//! Pending: what was unmapped and waits for a flush.
//!
//! Whoever unmaps pages retires them here: they are marked dirty in their block, the block goes into the current
//! CPU's list if it is in none, and the pages are counted. Nobody here flushes. Whoever retires gets a [`Pressure`],
//! and hands it to `reclaim` when it holds no lock and no pin; `reclaim` alone takes the lists and purges.
//!
//! A block with dirty pages is in one list at most, pushed by whoever made the first of its pages dirty; a
//! run of blocks that was freed is in one by its first block. Interrupt handlers, which may have interrupted
//! the holder of any lock, note what they free in lists of their own (`deferred`).
//!
//! Locks: a block's, to mark its pages. The lists take none.

mod count;
mod cpu;
mod deferred;
mod list;
mod retire;
mod state;

pub(crate) use count::Pressure;
pub(crate) use state::Pending;
