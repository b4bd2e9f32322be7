//! What the room owns: the pools, and the spare frame of each.

use super::{bins::Bins, bump::Bump};
use crate::{
    CpuPin, Frame, MAX_CPUS, Owner, Platform,
    atomic::{AtomicU64, AtomicUsize, Ordering},
    blocks::{Block, BlockSlot},
    lock::Lock,
    pending::Pending,
};

/// Two for each CPU.
const POOLS: usize = 2 * MAX_CPUS;

/// The pools of an instance.
pub(crate) struct Pools<P> {
    pub pending: Pending<P>,
    pub(super) pools: [Pool; POOLS],
    /// Blocks in the bins that are entirely free.
    pub(super) empty_blocks: AtomicUsize,
}

#[repr(align(64))]
pub(super) struct Pool {
    /// The current block. A new one is put there only by the pool's own CPU, pinned.
    pub current: BlockSlot,
    /// Pages of the current block, mostly, that the CPU hands out next.
    pub bump: Bump,
    /// The frame that the page of the last guard page had cached; the next page that has none gets it.
    spare: Spare,
    pub bins: Lock<Bins>,
}

/// Place for a frame.
pub(super) struct Spare(AtomicU64);

impl Spare {
    /// Set in the word of a frame, whose address has zeros there: so frame 0 is one too.
    const IS_FRAME: u64 = 1;

    fn is_some(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Puts a frame here, or none: the one before.
    fn swap(&self, frame: Option<Frame>) -> Option<Frame> {
        let word = frame.map_or(0, |frame| frame.address() | Self::IS_FRAME);
        let before = self.0.swap(word, Ordering::Relaxed);
        (before != 0).then(|| Frame::at(before - Self::IS_FRAME))
    }
}

/// The number of a CPU's pool.
#[inline]
pub(super) fn pool_of(cpu: usize, owner: Owner) -> usize {
    cpu % MAX_CPUS + if owner == Owner::Caller { MAX_CPUS } else { 0 }
}

impl<P: Platform> Pools<P> {
    #[inline(always)]
    pub fn new(pending: Pending<P>) -> Self {
        let pool = |_| Pool {
            current: BlockSlot::new(),
            bump: Bump::new(),
            spare: Spare(AtomicU64::new(0)),
            bins: Lock::new(Bins::new()),
        };
        Self { pending, pools: core::array::from_fn(pool), empty_blocks: AtomicUsize::new(0) }
    }

    #[inline(always)]
    pub(super) fn platform(&self) -> &P {
        self.pending.blocks.platform()
    }

    /// A pool of the CPU's.
    #[inline(always)]
    pub(super) fn pool(&self, pin: &P::Pin, owner: Owner) -> &Pool {
        &self.pools[pool_of(pin.cpu(), owner)]
    }

    /// Finds block `number` as [`Blocks::find`](crate::blocks::Blocks::find) does, for who expects it to be the current
    /// block of this CPU: mostly what is given back was taken on this CPU, not long ago.
    #[inline(always)]
    pub fn find_block<'a>(&'a self, pin: &'a P::Pin, owner: Owner, number: usize) -> Option<&'a Block> {
        let current = self.pool(pin, owner).current.get(pin).filter(|block| block.number() == number);
        current.or_else(|| self.pending.blocks.find(number, pin))
    }

    /// Caches a flushed frame for the next page of this CPU that has none; the one that was cached so far goes back.
    #[inline(never)]
    pub fn put_spare(&self, cpu: usize, frame: Frame) {
        self.platform().give_frames(self.pools[cpu].spare.swap(Some(frame)).into_iter());
    }

    /// Takes the frame that [`put_spare`](Self::put_spare) cached.
    #[inline]
    pub fn take_spare(&self, cpu: usize) -> Option<Frame> {
        let spare = &self.pools[cpu].spare;
        if spare.is_some() { spare.swap(None) } else { None }
    }

    /// How many frames [`put_spare`](Self::put_spare) cached.
    pub fn spares(&self) -> usize {
        self.pools.iter().filter(|pool| pool.spare.is_some()).count()
    }

    /// Blocks in all bins that are entirely free.
    #[cfg(all(test, not(loom)))]
    pub fn empty_blocks(&self) -> usize {
        self.empty_blocks.load(Ordering::Relaxed)
    }

    /// Gives the spare frames back.
    pub fn release_spares(&self) {
        // Whoever adds to what a pool caches decides here whether it is given back, and where.
        for Pool { spare, current: _, bump: _, bins: _ } in &self.pools {
            self.platform().give_frames(spare.swap(None).into_iter());
        }
    }
}
