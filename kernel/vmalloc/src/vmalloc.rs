//! An instance: the rooms put together.

use crate::{
    BLOCK_SIZE, MAX_CPUS, NewError, Platform, Policy, Tunables,
    areas::Areas,
    arena,
    base::Base,
    blocks::Blocks,
    page_table::{directories, survey},
    pending::Pending,
    percpu::Records,
    pools::Pools,
    reclaim::Reclaim,
    span::Span,
};
use core::{fmt, ops::Range, panic::Location};

/// Bytes of the longest range an instance can have: 32 TiB.
pub const MAX_RANGE: usize = arena::MAX_BLOCKS * BLOCK_SIZE;

/// A vmalloc allocator over a range of kernel virtual address space.
///
/// Nobody else maps anything in the range: see [what to do before the first call](crate#before-the-first-call). The frame
/// at an address is told by [`frame_at`](Self::frame_at), and not by a page walk that takes what is not zero for mapped.
///
/// Its rooms stand on each other: each owns its state and the room below, so that none can call upward.
// Reclaim > Areas > Pools > Pending > Blocks > Base.
pub struct Vmalloc<P: Platform> {
    reclaim: Reclaim<P>,
}

impl<P: Platform> Vmalloc<P> {
    /// Makes an instance over `range`, whose ends are multiples of [`BLOCK_SIZE`], which is at most
    /// [`MAX_RANGE`] bytes long and lies in one half of the address space. A range in which something is mapped already is
    /// refused.
    ///
    /// The top level page table entries of the range are filled now and never change again, so
    /// page tables that copy them later need no fault to see new mappings.
    ///
    /// A range that begins below 64 TiB has no magazines (see [`Reuse`](crate::Reuse)): frees and allocations there take a
    /// lock. What magazines write into page tables would name frames that a CPU with the L1TF flaw can read.
    #[doc(alias = "vmalloc_init")]
    ///
    /// # Errors
    /// See [`NewError`].
    ///
    /// # Panics
    /// In an interrupt handler.
    ///
    /// # Safety
    /// Until the instance is dropped, nobody else maps anything in the range, a page fault handler included. A page that
    /// somebody maps there all the same is named by a panic when its place is to be allocated, in nearly all cases: see
    /// [`find_foreign`](Self::find_foreign).
    pub unsafe fn new(platform: P, range: Range<usize>) -> Result<Self, NewError> {
        // SAFETY: the caller's promise.
        unsafe { Self::with_policy(platform, range, Policy::default()) }
    }

    /// Makes an instance with another [`Policy`] than the default: see [`new`](Self::new) for the rest.
    ///
    /// # Errors
    /// See [`NewError`].
    ///
    /// # Panics
    /// In an interrupt handler.
    ///
    /// # Safety
    /// Until the instance is dropped, nobody else maps anything in the range.
    pub unsafe fn with_policy(platform: P, range: Range<usize>, policy: Policy) -> Result<Self, NewError> {
        assert!(!platform.in_interrupt(), "an instance is made in an interrupt handler");
        check_range(&platform, &range)?;
        directories::fill_root(&platform, &range).ok_or(NewError::OutOfFrames)?;
        let span = Span::new(range);
        let mut records = Records::new(&platform).ok_or(NewError::OutOfFrames)?;
        let Some((arena, table)) = Blocks::index(&platform, span.blocks(), policy.search) else {
            // SAFETY: nobody has a part of them.
            unsafe { records.release(&platform) };
            return Err(NewError::OutOfFrames);
        };
        let blocks = Blocks::new(Base::new(platform, span, policy, records), arena, table);
        Ok(Self { reclaim: Reclaim::new(Areas::new(Pools::new(Pending::new(blocks)))) })
    }

    /// Returns the range of addresses that the instance allocates from.
    #[doc(alias = "VMALLOC_START")]
    #[doc(alias = "VMALLOC_END")]
    pub fn range(&self) -> &Range<usize> {
        &self.base().span.range
    }

    /// Returns the machine under the instance.
    pub fn platform(&self) -> &P {
        &self.base().platform
    }

    /// Returns the limits and switches that may be changed while the instance runs.
    pub fn tunables(&self) -> &Tunables {
        &self.base().tunables
    }

    /// Sets the clock to a time in milliseconds: areas that are made or resized from now on tell that it was then
    /// ([`AreaInfo::made`](crate::AreaInfo::made)). The machine calls it now and then, such as at each tick of one CPU. Without
    /// a call all areas were made at 0.
    pub fn set_clock(&self, milliseconds: u64) {
        self.base().set_clock(milliseconds);
    }

    /// Gives all free memory back to the machine: flushes what waits, and empties the caches of frames of free pages,
    /// magazines, empty blocks, freed runs, leaf tables in reserve, and directories and records of free address space. An allocation that
    /// runs out of address space or frames does this itself: nobody needs to call it for that.
    ///
    /// What other CPUs free meanwhile may stay, and records do where the caller may not wait for a
    /// [grace period](Platform::synchronize). Where another thread purges, and the caller may not wait for it, nothing
    /// happens.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[track_caller]
    pub fn trim(&self) {
        self.base().assert_not_in_interrupt("trim");
        self.reclaim.trim(Location::caller());
    }

    /// Gives at least `frames` cached frames back to the machine if there are as many, those that cost least first: frames
    /// cached in free pages, then those of parked areas and of what waits for a flush, then all that
    /// [`trim`](Self::trim) gives but records. Returns how many were given. For a machine that runs short and asks all who
    /// cache; an instance's own allocations do it themselves.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[doc(alias = "shrinker")]
    #[track_caller]
    pub fn shrink(&self, frames: usize) -> usize {
        self.base().assert_not_in_interrupt("shrink");
        self.reclaim.shrink(frames, Location::caller())
    }

    /// Empties what CPU `cpu` has cached for itself: its magazines, pools, runs, and tables in reserve. For a CPU that goes
    /// offline and does not use the instance any more; it may use it again later. Blocks of its pools that areas use still, or in
    /// which pages wait for a flush, stay in its pools: others use them before an allocation is refused. Where the caller may
    /// not wait for a [grace period](Platform::synchronize), the magazines stay.
    ///
    /// # Panics
    /// If there is no such CPU, or in an interrupt handler.
    #[doc(alias = "cpuhp")]
    pub fn release_cpu(&self, cpu: usize) {
        self.base().assert_not_in_interrupt("release_cpu");
        assert!(cpu < MAX_CPUS, "there is no CPU {cpu}");
        self.reclaim.release_cpu(cpu);
    }

    #[inline(always)]
    pub(crate) fn reclaim(&self) -> &Reclaim<P> {
        &self.reclaim
    }

    #[inline(always)]
    pub(crate) fn areas_room(&self) -> &Areas<P> {
        &self.reclaim.areas
    }

    #[inline(always)]
    pub(crate) fn pending(&self) -> &Pending<P> {
        self.areas_room().pending()
    }

    #[inline(always)]
    pub(crate) fn blocks(&self) -> &Blocks<P> {
        self.areas_room().blocks()
    }

    #[inline(always)]
    pub(crate) fn base(&self) -> &Base<P> {
        self.areas_room().base()
    }
}

/// Returns why an instance cannot have a range, if it cannot: by its addresses, or because somebody has it.
pub(crate) fn check_range<P: Platform>(platform: &P, range: &Range<usize>) -> Result<(), NewError> {
    let aligned = range.start.is_multiple_of(BLOCK_SIZE) && range.end.is_multiple_of(BLOCK_SIZE);
    if !aligned || range.is_empty() || range.start == 0 || range.len() > MAX_RANGE {
        return Err(NewError::BadRange(range.clone()));
    }
    if !is_canonical(range) {
        return Err(NewError::NotCanonical(range.clone()));
    }
    match survey::first_in_use(platform, range) {
        Some((address, entry)) => Err(NewError::InUse { address, entry: entry.0 }),
        None => Ok(()),
    }
}

/// Returns whether CPUs with page tables of four levels can use all addresses of a range: bits 63 to 47 of all of them
/// are alike (Intel SDM 1, section 3.3.7.1).
fn is_canonical(range: &Range<usize>) -> bool {
    const HALF: u32 = 47;
    let (first, last) = (range.start >> HALF, (range.end - 1) >> HALF);
    first == last && (first == 0 || first == usize::MAX >> HALF)
}

/// Writes the range.
impl<P: Platform> fmt::Debug for Vmalloc<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vmalloc({:#x?})", self.range())
    }
}

impl<P: Platform> Drop for Vmalloc<P> {
    /// Gives the records back. Areas that are still allocated keep everything: they are leaked.
    fn drop(&mut self) {
        self.base().assert_not_in_interrupt("an instance's drop");
        self.reclaim.areas.release_last_magazines();
        // SAFETY: it is dropped.
        unsafe { self.reclaim.release() };
    }
}
