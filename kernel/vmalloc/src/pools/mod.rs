//! Pools: a CPU's supply of pages from blocks that areas share.
//!
//! Each CPU has two pools: one of blocks whose areas own their frames, so that free pages there have frames cached in
//! their entries; one of blocks that show frames of others. Only when address space is short does either take from the
//! other.
//!
//! A pool has one *current* block, which its CPU takes pages from, a *bump run* of pages of that block, which it
//! hands out without a lock, and *bins* of other blocks with free pages, by their longest free run. A block in
//! which nothing is free is in no bin; the purge that makes room in it puts it into one. A pool that has nothing
//! opens a block; when the arena has none, it takes blocks from other pools, and in the end pages of any block that
//! has enough. It notes the leaf tables of its last blocks (`leaves`), by which a free finds an area's entries.
//!
//! Used by `areas`; `reclaim` settles blocks in which a purge made pages free, and empties the pools. Locks: a block's
//! for what the bump run does not have; the pool's, before it, only when a block changes its bin.

mod bins;
mod bump;
mod leaves;
mod settle;
mod state;
mod take;

pub(crate) use state::Pools;
pub(crate) use take::PageRun;
