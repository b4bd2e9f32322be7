//! Vmap blocks: 2 MiB of address space, one leaf page table and one descriptor of 192 bytes.
//!
//! A descriptor is all that the library remembers of a block, however many areas lie in it. It has the block's
//! [`Role`], and for a block that areas share its [`Pages`]: what each page is, in two bits.
//!
//! ```text
//! arena ──open──▶ descriptor, leaf table ──link──▶ mapped ──unlink, flush──▶ arena
//! ```
//! A descriptor is used pinned, or in a read-side section, which the compiler enforces: the references that
//! look-ups return end with it. Code without a pin goes by the block's number.
//!
//! Every room above uses this one. It owns the arena, the table of descriptors, and each CPU's reserve of leaf tables.
//! Locks: a block's, around its pages, or a CPU's reserve: no other lock is taken under either, and neither is held while
//! anything is taken from or given to the machine. The notifiers' lock (`reclaim`) is never held together with them.

mod block;
mod find;
mod leaves;
mod open;
mod pages;
pub(crate) mod records;
mod reserve;
mod role;
mod split;
mod state;
mod table;

pub(crate) use block::{Block, BlockSlot};
pub(crate) use find::ReadSide;
pub(crate) use pages::{Listed, Pages};
pub(crate) use role::Role;
pub(crate) use split::Mapping;
pub(crate) use state::Blocks;
pub(crate) use table::NO_BLOCK;
