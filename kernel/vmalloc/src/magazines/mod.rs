//! Magazines: freed areas that the next allocation of their size takes as they are.
//!
//! Each CPU has a frame with a magazine for each number of pages up to [`CLASSES`], and another one with two places for
//! each up to [`LONGEST`] (`long`). A free *parks* the area in the magazine of the CPU that it runs on: its entries are
//! unmapped, and keep their frames; the entry of the page behind says where the area starts, so that a place in a
//! magazine is one pointer. An allocation of as many pages takes the area that was parked last: its frames, its entries
//! and the lines of both are still in the CPU's caches. Neither takes a lock, marks a page dirty, counts it as pending,
//! or flushes. In a range below 64 TiB nothing is parked: there an address in an entry would look like a frame's.
//!
//! # Why no flush is needed
//!
//! A CPU may still have a translation from the area's former life. It leads to the frame that the page has
//! again, with the rights that it has again, so whatever the CPU does through it is right. This relies on the
//! following, each of which the simulated machine checks.
//! 1. **Same address, same frame.** A parked page keeps its frame in its entry; nobody gives it back before
//!    the area has gone the way of all freed pages, which ends with a flush.
//! 2. **Same rights, same memory type.** An area whose entries differ from what is asked for is not taken. `set_protection`
//!    flushes what it changes before it returns, so there are no older rights either.
//! 3. **The dirty bit stays.** A CPU that has a translation marked dirty writes through it without marking the
//!    entry again. So an entry that is dirty stays dirty when its area is taken, even if its frame is filled with
//!    zeros for the next owner; and one that is not dirty has not been written since the last flush, as always.
//! 4. **The guard page stays.** The page behind the area belongs to no other area. No CPU could reach it while
//!    the area was live, nor can one afterwards; or, if the area was cut, a CPU may reach the frame that the
//!    page had, which waits behind it for a flush of both. An area with a guard page below is not parked.
//! 5. **No code.** A CPU may have prefetched what was in the page before, and need not look again until an
//!    interrupt, as most flushes are, or a serialising instruction. So executable areas are not parked, and
//!    neither what was cut off them nor a frame that `vm_map_ram` mapped executable gets its page again in
//!    this way. Where flushes are broadcast, and interrupt nobody, whoever writes code has to serialise.
//! 6. **Old pointers are the caller's fault.** A write through one hits the next owner, as everywhere before
//!    a flush. [`Reuse::AfterFlush`](crate::Reuse) parks nothing, for those who hunt such a write.
//!
//! What was cut off an area of up to [`CLASSES`] pages comes back without a flush for the same reasons when
//! the area grows by just that (`areas/realloc/small.rs`).
//!
//! # Who may touch a magazine
//!
//! Only its own CPU does, pinned and outside of interrupt handlers, so that it needs no atomic exchange.
//! Others, pinned, only count what is in it. Whoever gives everything back unlinks the magazines and waits
//! for a grace period, after which all who were pinned have let go of them. While they are
//! [closed](Magazines::close), no CPU makes new ones.
//!
//! A CPU makes its magazines in an allocation that found none, never in a free. Where memory is so short that a
//! magazine would have no place, there are none. Used by `areas`, and by `reclaim` to close them. No lock is taken.
//!
//! The first frame also has what the CPU's calls of `vm_map_ram` need (`ram`), which comes and goes with it.

mod cpu;
mod long;
mod ram;
mod state;

pub(crate) use cpu::{CLASSES, Magazine, Parked};
pub(crate) use long::{LONGEST, Long};
pub(crate) use ram::Ram;
pub(crate) use state::{Closed, Magazines};
