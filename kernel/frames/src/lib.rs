//! The logic of the physical frame allocator: a buddy allocator over bitmaps and the
//! magazines in front of it.
//!
//! A *frame* is 4 KiB of physical memory and is named by its page frame number, the
//! physical address divided by 4096, a `u64` everywhere in this crate. Nothing here
//! touches the memory it manages: no header is written into a free frame, so a frame that
//! is not mapped, or not present, costs nothing until somebody uses it, and all of it runs
//! on the host under test. There is no `unsafe`, no allocation and no lock: the kernel
//! wraps one [`Buddy`] in a lock and gives every CPU a [`Magazine`] of its own, and one to
//! page tables; only a magazine's refill and drain need the buddy's lock.
//!
//! | module | idea |
//! |---|---|
//! | `block` | [`Block`], the unit of the buddy system, and runs cut into blocks |
//! | `bitmap` | a bitmap with summaries: the lowest set bit in a few loads |
//! | `buddy` | [`Buddy`]: one bitmap an order, split and merge |
//! | `bulk` | runs of any length and many single frames at once |
//! | `magazine` | [`Magazine`]: the hot path, an array and a length |
//! | `error` | [`FreeError`]: what is refused, and what was found |
//!
//! # Invariants
//!
//! 1. Bit `i` of order `k` is set exactly if the block of `2^k` frames at
//!    `base + i * 2^k` is free *as one block*; `base` is a multiple of
//!    `2^`[`MAX_ORDER`], so a block is aligned in physical memory too, and a free block of
//!    order 9 can be mapped by a 2 MiB leaf.
//! 2. A frame lies in at most one free block.
//! 3. Two buddies below [`MAX_ORDER`] are never both free: they are merged at once. The
//!    bitmaps are therefore a function of the set of free frames and of nothing else, which
//!    is what the tests compare with a naive model.
//! 4. [`Buddy::free_frames`] is the sum over the free blocks and never exceeds
//!    [`Buddy::total`].
//!
//! # Cost
//!
//! With `n` frames in the span: [`Buddy::new`] zeroes about `2.03 n` bits;
//! [`Buddy::add`] takes a step for every 4 MiB; [`Buddy::allocate`] takes one search
//! (`log64 n` loads) and a bit for every split; [`Buddy::free`] at most one test an order
//! for the double free and a bit for every merge; a magazine's pop or push is one compare.

#![no_std]
#![forbid(unsafe_code)]

mod bitmap;
mod block;
mod buddy;
mod bulk;
mod error;
mod magazine;
// Miri would take minutes for those.
#[cfg(all(test, not(miri)))]
mod tests;

pub use block::{Block, MAX_ORDER, MAX_RUN};
pub use buddy::Buddy;
pub use error::FreeError;
pub use magazine::{Full, Magazine};
