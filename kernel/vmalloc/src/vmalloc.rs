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
/// Nobody else may map anything in the range: see [what to do before the first call](crate#before-the-first-call). Find
/// the frame at an address by [`frame_at`](Self::frame_at), not by a page walk that takes all but zero for mapped.
///
/// Its rooms are stacked: each owns its state and the room below, so that none can call upward.
// Reclaim > Areas > Pools > Pending > Blocks > Base.
pub struct Vmalloc<P: Platform> {
    reclaim: Reclaim<P>,
}

impl<P: Platform> Vmalloc<P> {
    /// Makes an instance over `range`, whose ends are multiples of [`BLOCK_SIZE`], and which is at most
    /// [`MAX_RANGE`] bytes long and lies in one half of the address space. A range in which something is
    /// already mapped is refused.
    ///
    /// The top level page table entries of the range are filled now and never change again, so
    /// page tables that copy them later need no fault to see new mappings.
    ///
    /// A range that begins below 64 TiB has no magazines (see [`Reuse`](crate::Reuse)): frees and allocations there
    /// take a lock. What magazines write into page tables would look like frames, which a CPU with the L1TF flaw could read.
    #[doc(alias = "vmalloc_init")]
    ///
    /// # Errors
    /// See [`NewError`].
    ///
    /// # Panics
    /// In an interrupt handler.
    ///
    /// # Safety
    /// Until the instance is dropped, nobody else, page fault handlers included, maps anything in the range.
    /// A page that is mapped there all the same is reported by a panic when its place is about to be
    /// allocated, in nearly all cases: see [`find_foreign`](Self::find_foreign).
    pub unsafe fn new(platform: P, range: Range<usize>) -> Result<Self, NewError> {
        // SAFETY: the caller's promise.
        unsafe { Self::with_policy(platform, range, Policy::default()) }
    }

    /// Makes an instance with a [`Policy`] other than the default: see [`new`](Self::new) for the rest.
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

    /// Sets the instance's clock to a time in milliseconds. Areas that are made or resized from now on record
    /// it ([`AreaInfo::made`](crate::AreaInfo::made)). The kernel calls this regularly, for example at each
    /// tick of one CPU. If it is never called, all areas are recorded as made at 0.
    pub fn set_clock(&self, milliseconds: u64) {
        self.base().set_clock(milliseconds);
    }

    /// Gives all free memory back to the machine: flushes what waits, and empties the caches: frames of free pages,
    /// magazines, empty blocks, freed runs, reserved leaf tables, directories and records of free address space. An
    /// allocation that runs out of address space or frames does this itself: nobody needs to call it for that.
    ///
    /// What other CPUs free meanwhile may stay cached, and records stay if the caller may not wait for
    /// a [grace period](Platform::synchronize). If another thread is purging, and the caller may not
    /// wait for it, nothing happens.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[track_caller]
    pub fn trim(&self) {
        self.base().assert_not_in_interrupt("trim");
        self.reclaim.trim(Location::caller());
    }

    /// Gives at least `frames` cached frames back to the machine if that many are cached, the cheapest first:
    /// frames cached in free pages, then those of parked areas and of what waits for a flush, then all that
    /// [`trim`](Self::trim) gives except records. Returns how many were given. It is for a machine that runs
    /// short of memory and asks everyone who caches some; an instance's own allocations do this themselves.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[doc(alias = "shrinker")]
    #[track_caller]
    pub fn shrink(&self, frames: usize) -> usize {
        self.base().assert_not_in_interrupt("shrink");
        self.reclaim.shrink(frames, Location::caller())
    }

    /// Empties what CPU `cpu` has cached for itself: its magazines, pools, runs and reserved tables. It is for a
    /// CPU that goes offline and stops using the instance, though it may use it again later. Blocks of its pools
    /// that areas still use, or in which pages wait for a flush, stay there: others use them before an allocation
    /// is refused. If the caller may not wait for a [grace period](Platform::synchronize), the magazines stay.
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
