//! Areas: making them, giving them back, resizing them.
//!
//! An area that fits half a block with its guard page behind it is *small* (`small`): a run of pages of a block that it
//! shares with others. A larger one, or one aligned to more than half a block, is a *run* of blocks of its own (`run`),
//! with its own tables; runs that were freed are cached (`cached`). `ram` has the mappings of `vm_map_ram`, `congruent`
//! and `populate` several areas at set distances whose pages come and go.
//!
//! ```text
//! free ──take──▶ mapped ──unmap──▶ quarantined ──purge: flush──▶ free, mostly with its frames
//! ```
//! Called by `calls`, which hands the [`Pressure`] that a free returns to `reclaim`, and by `reclaim`, which tries
//! allocations again and frees what interrupt handlers noted. What fails has changed nothing, but that pages of it may
//! wait for a flush. Nothing here purges. Locks: a CPU's cached runs; those of the rooms below.

pub(crate) mod cached;
pub(crate) mod congruent;
mod frames;
mod populate;
mod ram;
mod realloc;
mod resize;
mod run;
pub(crate) mod shape;
mod small;

use crate::{
    AllocError, BLOCK_PAGES, MAX_CPUS, Platform,
    base::Base,
    blocks::{Block, Blocks, Role},
    page_table::entry::{Entry, GuardInfo},
    pending::{Pending, Pressure},
    pools::Pools,
    span::Span,
    types::Owner,
};
use cached::CachedRuns;
use core::sync::atomic::AtomicUsize;
pub(crate) use frames::Attempt;
pub(crate) use shape::{Backing, Shape};
use small::Claimed;

/// What makes the areas of an instance, and the runs of freed areas that it caches.
pub(crate) struct Areas<P> {
    pub pools: Pools<P>,
    cached: [CachedRuns; MAX_CPUS],
    /// Blocks of runs in all CPUs' caches, and of those that will be there when they are flushed.
    cached_blocks: AtomicUsize,
}

impl<P: Platform> Areas<P> {
    pub fn new(pools: Pools<P>) -> Self {
        let cached = core::array::from_fn(|_| CachedRuns::new());
        Self { pools, cached, cached_blocks: AtomicUsize::new(0) }
    }

    #[inline(always)]
    pub fn pending(&self) -> &Pending<P> {
        &self.pools.pending
    }

    #[inline(always)]
    pub fn blocks(&self) -> &Blocks<P> {
        &self.pools.pending.blocks
    }

    #[inline(always)]
    pub fn base(&self) -> &Base<P> {
        &self.blocks().base
    }

    #[inline(always)]
    fn platform(&self) -> &P {
        &self.base().platform
    }

    #[inline(always)]
    fn span(&self) -> &Span {
        &self.base().span
    }

    #[inline(always)]
    fn block(&self, number: usize) -> &Block {
        self.blocks().block(number)
    }

    /// Blocks of runs that are cached, or will be when they are flushed.
    #[cfg(test)]
    pub fn cached_blocks(&self) -> usize {
        self.cached_blocks.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Makes an area of this shape: its address.
    pub fn make(&self, shape: &Shape<'_>, guard: GuardInfo, attempt: Attempt) -> Result<usize, AllocError> {
        if shape.is_small() {
            return self.make_small(shape, guard, attempt);
        }
        match self.make_run(shape, guard, attempt) {
            Err(AllocError::OutOfAddressSpace) if shape.fits_block() => {
                self.make_small(shape, guard, attempt)
            }
            made => made,
        }
    }

    /// Frees the area that starts at `address`, whose frames are `owner`'s. `None`: none starts there.
    pub fn free(&self, address: usize, owner: Owner) -> Option<Pressure> {
        let pin = self.platform().pin();
        let (block, page) = self.blocks().place(address, &pin)?;
        match block.role() {
            Role::Small { .. } => {
                let leaf = block.leaf(self.platform())?;
                let entry = leaf[page].claim_any(owner)?;
                // SAFETY: the area is the caller's alone, who frees it pinned.
                let block = unsafe { block.unbound() };
                Some(self.free_small(&pin, Claimed { block, first: page, leaf, entry }, owner))
            }
            Role::Head { .. } if page == 0 => {
                let first = block.number();
                drop(pin);
                self.free_run(first, owner)
            }
            _ => None,
        }
    }

    /// Frees the area at `address` that owns its frames, and whose first entry, which was `entry`, is claimed.
    pub fn free_claimed(&self, address: usize, entry: Entry) -> Pressure {
        let (block, first) = self.blocks().owned_place(address);
        if let Role::Head { .. } = block.role() {
            return self.free_claimed_run(block.number(), Owner::Area, entry);
        }
        let claimed = Claimed { block, first, leaf: self.blocks().leaf(block), entry };
        self.free_small(&self.platform().pin(), claimed, Owner::Area)
    }

    /// Gives the machine all frames that free pages cached, but those of bump runs.
    pub fn release_frames(&self) {
        for number in self.blocks().known() {
            // A block has no more, unless others purge meanwhile.
            let _all =
                (0..BLOCK_PAGES / frames::AT_ONCE).all(|_| self.release_some(number) == frames::AT_ONCE);
        }
    }
}
