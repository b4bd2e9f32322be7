//! What the room owns: the pools, and the spare frame of each.

use super::{bins::Bins, bump::Bump, leaves::Leaves};
use crate::{
    CpuPin, Frame, MAX_CPUS, Owner, Platform, Returned,
    apart::Apart,
    atomic::{AtomicU64, AtomicUsize, Ordering},
    blocks::{Block, BlockSlot, Role},
    lock::Lock,
    page_table::slot::Slots,
    pending::Pending,
    percpu::{Part, PerCpu, Record, place},
};

use core::ops::Range;

/// The pools of an instance.
pub(crate) struct Pools<P> {
    pub pending: Pending<P>,
    pub(super) pools: PerCpu<PoolPair>,
    /// Blocks in the bins that are entirely free.
    pub(super) empty_blocks: Apart<AtomicUsize>,
}

/// The pools of one CPU, by whose frames their pages show.
pub(super) struct PoolPair([Pool; 2]);

impl Part for PoolPair {
    const AT: usize = place::POOLS;

    fn new(_: bool) -> Self {
        Self([Pool::new(), Pool::new()])
    }
}

#[repr(align(64))]
pub(super) struct Pool {
    /// The current block. A new one is put there only by the pool's own CPU, pinned.
    pub current: BlockSlot,
    /// Those of the current block, and of some that were it before.
    pub leaves: Leaves,
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

impl Pool {
    fn new() -> Self {
        Self {
            current: BlockSlot::new(),
            leaves: Leaves::new(),
            bump: Bump::new(),
            spare: Spare(AtomicU64::new(0)),
            bins: Lock::new(Bins::new()),
        }
    }

    /// Makes a block, whose leaf table this is, the current one, or none, and returns the one before.
    pub fn set_current<'a>(
        &'a self,
        pin: &'a impl CpuPin,
        block: Option<(&Block, usize, &Slots)>,
    ) -> Option<&'a Block> {
        // Before it is current: whoever takes it out of there, and closes it, finds its leaf table noted.
        if let Some((_, start, leaf)) = block {
            self.leaves.put(start, leaf);
        }
        // SAFETY: its pages are listed as those of a current block, which `settle` does not close. Who takes it out of here
        // changes that afterwards.
        unsafe { self.current.swap(block.map(|(block, ..)| block), pin) }
    }
}

/// The number of a CPU's pool.
#[inline]
pub(super) fn pool_of(cpu: usize, owner: Owner) -> u16 {
    // At most twice `MAX_CPUS`.
    (2 * (cpu % MAX_CPUS)) as u16 + u16::from(owner == Owner::Caller)
}

impl<P: Platform> Pools<P> {
    #[inline(always)]
    pub fn new(mut pending: Pending<P>) -> Self {
        let pools = pending.blocks.base.records.lay_out();
        Self { pending, pools, empty_blocks: Apart(AtomicUsize::new(0)) }
    }

    #[inline(always)]
    pub(super) fn platform(&self) -> &P {
        self.pending.blocks.platform()
    }

    /// A pool of the CPU's.
    #[inline(always)]
    pub(super) fn pool(&self, pin: &P::Pin, owner: Owner) -> &Pool {
        &self.pools.of(pin.cpu()).0[usize::from(owner == Owner::Caller)]
    }

    /// The pool of this number.
    pub(super) fn numbered(&self, pool: u16) -> &Pool {
        let pool = usize::from(pool);
        &self.pools.of(pool / 2).0[pool % 2]
    }

    /// The numbers of the pools of the CPUs that have some, those of areas' own frames first.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u16> {
        let of = |owner| self.pools.owned(0..MAX_CPUS).map(move |(cpu, _)| pool_of(cpu, owner));
        of(Owner::Area).chain(of(Owner::Caller))
    }

    /// All pools, those that CPUs share too: there are no pages in these, but may be spare frames.
    pub(super) fn all(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().flat_map(|pair| &pair.0)
    }

    /// Finds block `number` as [`Blocks::find`](crate::blocks::Blocks::find) does, for who expects it to be the current
    /// block of this CPU: mostly what is given back was taken on this CPU, not long ago.
    #[inline(always)]
    pub fn find_block<'a>(&'a self, pin: &'a P::Pin, owner: Owner, number: usize) -> Option<&'a Block> {
        let current = self.pool(pin, owner).current.get(pin).filter(|block| block.number() == number);
        current.or_else(|| self.pending.blocks.find(number, pin))
    }

    /// Returns the page of a shared block that starts at `address`, by its place in the block and the block's leaf table, if
    /// one does that is in one of the last blocks of the CPU, pinned, whose record this is.
    #[inline(always)]
    pub fn near_page<'a>(
        &'a self,
        record: Record<'a>,
        owner: Owner,
        address: usize,
    ) -> Option<(usize, &'a Slots)> {
        self.pools.part(record).0[usize::from(owner == Owner::Caller)].leaves.find(address)
    }

    /// Returns the record of this CPU.
    #[inline(always)]
    pub fn record(&self, pin: &P::Pin) -> Record<'_> {
        self.pools.record(pin.cpu())
    }

    /// Returns a page as [`near_page`](Self::near_page) does, in whichever block.
    #[inline]
    pub fn small_page(&self, pin: &P::Pin, address: usize) -> Option<(usize, &Slots)> {
        let (block, page) = self.pending.blocks.place(address, pin)?;
        let leaf = block.leaf(self.platform())?;
        matches!(block.role(), Role::Small { .. }).then_some((page, leaf))
    }

    /// Caches a flushed frame for the next page of this CPU that has none; the one that was cached so far goes back.
    #[inline(never)]
    pub fn put_spare(&self, cpu: usize, frame: Frame) {
        let spare = &self.pools.of(cpu).0[0].spare;
        self.platform().give_frames(Returned::new(spare.swap(Some(frame)).into_iter()));
    }

    /// Takes the frame that [`put_spare`](Self::put_spare) cached.
    #[inline]
    pub fn take_spare(&self, cpu: usize) -> Option<Frame> {
        let spare = &self.pools.of(cpu).0[0].spare;
        if spare.is_some() { spare.swap(None) } else { None }
    }

    /// How many frames [`put_spare`](Self::put_spare) cached.
    pub fn spares(&self) -> usize {
        self.all().filter(|pool| pool.spare.is_some()).count()
    }

    /// Blocks in all bins that are entirely free.
    #[cfg(all(test, not(loom)))]
    pub fn empty_blocks(&self) -> usize {
        self.empty_blocks.load(Ordering::Relaxed)
    }

    /// Returns both pools of each of these CPUs.
    pub(super) fn pools_of(&self, cpus: Range<usize>) -> impl Iterator<Item = &Pool> {
        self.pools.parts(cpus).flat_map(|pair| &pair.0)
    }

    /// Gives the spare frames of these CPUs back.
    pub fn release_spares(&self, cpus: Range<usize>) {
        // Whoever adds to what a pool caches decides here whether it is given back, and where.
        for Pool { spare, current: _, leaves: _, bump: _, bins: _ } in self.pools_of(cpus) {
            self.platform().give_frames(Returned::new(spare.swap(None).into_iter()));
        }
    }
}
