//! Areas: `vmalloc` and its relatives, and `vfree`.
//!
//! An area that fits a block with its guard page behind it is *small*: a run of pages of a block it
//! shares with others. A larger one, or one aligned to more than half a block, is a *run* of blocks
//! of its own, whose tables come and go with it.
//!
//! ```text
//! free ──take──▶ mapped ──unmap──▶ quarantined ──flush──▶ reclaim: frames back, entries zero, free
//! ```
//! Each page of address space has one owner in each of these states, so entries are written
//! without a lock. The first entry is written last, and cleared first by compare-and-swap: it
//! decides which of two calls to `vfree` is the one that frees.

use crate::{
    AllocError, FreeError, Vmalloc,
    block::{Block, Role},
    entry::{Entry, GuardInfo, Kind},
    flush::Unflushed,
    platform::{BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, Frame, PAGE_SHIFT, PAGE_SIZE, Platform, Table},
    pool::SmallRun,
};
use core::{
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// What [`Vmalloc::allocate`] is asked for.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Request {
    size: usize,
    align: usize,
    zeroed: bool,
    huge: bool,
}

impl Request {
    /// An area of `size` bytes, page-aligned, of 4 KiB pages, with undefined contents.
    pub const fn new(size: usize) -> Self {
        Self { size, align: PAGE_SIZE, zeroed: false, huge: false }
    }

    /// Aligned to `align` bytes, a power of two; below a page it means a page.
    pub const fn align(self, align: usize) -> Self {
        Self { align, ..self }
    }

    /// Filled with zeros.
    pub const fn zeroed(self) -> Self {
        Self { zeroed: true, ..self }
    }

    /// Of 2 MiB pages where a whole one is needed and can be had, of 4 KiB pages elsewhere.
    pub const fn huge(self) -> Self {
        Self { huge: true, ..self }
    }
}

/// A request in pages, checked.
struct Shape {
    pages: usize,
    align: usize,
    zeroed: bool,
    huge: bool,
    slack: usize,
}

impl<P: Platform> Vmalloc<P> {
    /// Allocates `size` bytes, contiguous in kernel virtual address space, of undefined contents,
    /// readable and writable, with a guard page behind.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    #[inline]
    pub fn vmalloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.allocate(Request::new(size))
    }

    /// The same, filled with zeros.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn vzalloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.allocate(Request::new(size).zeroed())
    }

    /// Allocates what `request` asks for.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn allocate(&self, request: Request) -> Result<NonNull<u8>, AllocError> {
        let shape = self.check(request)?;
        let guard = GuardInfo { slack: shape.slack, kind: Kind::Vmalloc, caller: Location::caller() };
        let address = if shape.pages < BLOCK_PAGES && shape.align <= BLOCK_PAGES / 2 && !shape.huge {
            self.allocate_small(&shape, guard)?
        } else {
            self.allocate_run(&shape, guard)?
        };
        match NonNull::new(address as *mut u8) {
            Some(address) => Ok(address),
            None => unreachable!("the range does not start at zero"),
        }
    }

    fn check(&self, request: Request) -> Result<Shape, AllocError> {
        let Request { size, align, zeroed, huge } = request;
        if size == 0 {
            return Err(AllocError::ZeroSize);
        }
        if !align.is_power_of_two() {
            return Err(AllocError::BadAlignment { align });
        }
        // The range is at most 32 TiB, so what passes here cannot overflow when rounded up.
        if size > self.range.len() - PAGE_SIZE {
            return Err(AllocError::TooLarge { size });
        }
        let pages = size.div_ceil(PAGE_SIZE);
        let align = (align >> PAGE_SHIFT).max(1);
        let huge = huge && pages >= BLOCK_PAGES;
        Ok(Shape { pages, align, zeroed, huge, slack: pages * PAGE_SIZE - size })
    }

    #[inline]
    fn allocate_small(&self, shape: &Shape, guard: GuardInfo) -> Result<usize, AllocError> {
        let run = self.take_pages(shape.pages + 1, shape.align)?;
        let Some(leaf) = run.block.leaf(&self.platform) else {
            unreachable!("a block of small areas has a leaf table")
        };
        let entries = &leaf[run.first..=run.first + shape.pages];
        let filled = self.fill(&entries[..shape.pages], shape.zeroed);
        if filled < shape.pages {
            self.undo_small(run, shape.pages, filled);
            return Err(AllocError::OutOfFrames);
        }
        // The guard first: who finds the first page may ask the guard whose it is.
        entries[shape.pages].store(Entry::guard(guard).0, Ordering::Relaxed);
        publish(&entries[0], &entries[shape.pages - 1]);
        Ok(self.address(run.number, run.first))
    }

    /// Maps frames in these entries of a leaf table, until frames run out: how many.
    #[inline]
    fn fill(&self, entries: &[AtomicU64], zeroed: bool) -> usize {
        let mut slots = entries.iter();
        self.platform.take_frames(entries.len(), |frame| {
            if zeroed {
                self.zero(frame);
            }
            if let Some(slot) = slots.next() {
                slot.store(Entry::owned(frame).0, Ordering::Relaxed);
            }
        })
    }

    fn zero(&self, frame: Frame) {
        // SAFETY: the frame was taken and not mapped yet, so it is ours alone (promises 1 and 2 of
        // `Platform`).
        unsafe { self.platform.direct_map(frame).cast::<[u64; PAGE_SIZE / 8]>().write([0; PAGE_SIZE / 8]) };
    }

    /// Nobody was told of the address, but a CPU may have speculated on it: a free like any other.
    #[cold]
    fn undo_small(&self, run: SmallRun<'_>, pages: usize, filled: usize) {
        let Some(leaf) = run.block.leaf(&self.platform) else { return };
        for entry in &leaf[run.first..run.first + filled] {
            unmap(entry);
        }
        self.reclaim_small(run.number, run.block, leaf, run.first, pages, filled);
    }

    fn allocate_run(&self, shape: &Shape, guard: GuardInfo) -> Result<usize, AllocError> {
        let count = (shape.pages + 1).div_ceil(BLOCK_PAGES);
        let first = self.open_blocks(count, (shape.align / BLOCK_PAGES).max(1))?;
        for index in 0..count {
            let pages = (shape.pages - index * BLOCK_PAGES).min(BLOCK_PAGES);
            if let Err(error) = self.fill_block(first + index, pages, shape) {
                self.free_blocks(first, index + 1, first + count);
                return Err(error);
            }
        }
        let last_page = shape.pages - 1;
        let last = first + count - 1;
        let guard_entry = self.block(last).leaf(&self.platform).map(|leaf| &leaf[shape.pages % BLOCK_PAGES]);
        let Some(guard_entry) = guard_entry else { unreachable!("the guard's block has a leaf table") };
        guard_entry.store(Entry::guard(guard).0, Ordering::Relaxed);
        for index in 1..count {
            self.block(first + index).set_role(Role::Tail { behind: index as u32 });
        }
        publish(self.entry(first, 0), self.entry(first + last_page / BLOCK_PAGES, last_page % BLOCK_PAGES));
        self.block(first).set_role(Role::Head { blocks: count as u32 });
        Ok(self.address(first, 0))
    }

    /// Maps the first `pages` pages of a block that was just opened.
    fn fill_block(&self, number: usize, pages: usize, shape: &Shape) -> Result<(), AllocError> {
        if shape.huge
            && pages == BLOCK_PAGES
            && let Some(frame) = self.platform.take_huge_frame()
        {
            return self.map_huge(number, frame, shape.zeroed);
        }
        let block = self.link_leaf(number)?;
        let Some(leaf) = block.leaf(&self.platform) else { unreachable!("just linked") };
        if self.fill(&leaf[..pages], shape.zeroed) < pages {
            return Err(AllocError::OutOfFrames);
        }
        Ok(())
    }

    fn map_huge(&self, number: usize, frame: Frame, zeroed: bool) -> Result<(), AllocError> {
        let entry = match self.make_block(number) {
            Ok((_, entry)) => entry,
            Err(error) => {
                self.platform.give_huge_frame(frame);
                return Err(error);
            }
        };
        if zeroed {
            (0..BLOCK_PAGES as u64).for_each(|page| self.zero(Frame::new(frame.number() + page)));
        }
        // Release: a CPU that walks through the entry finds the zeros.
        entry.store(Entry::owned_huge(frame).0, Ordering::Release);
        Ok(())
    }

    /// The entry that maps a page of a run: in the leaf table, or above it for a 2 MiB page.
    fn entry(&self, number: usize, page: usize) -> &AtomicU64 {
        let leaf = self.block(number).leaf(&self.platform).map(|leaf| &leaf[page]);
        match leaf.or_else(|| self.block_entry(number)) {
            Some(entry) => entry,
            None => unreachable!("block {number} of the run is mapped"),
        }
    }

    /// Frees the area that starts at `address`: its frames and its address space.
    ///
    /// # Errors
    /// See [`FreeError`]; nothing has changed then.
    ///
    /// # Safety
    /// Nobody uses the area any more.
    #[inline]
    pub unsafe fn vfree(&self, address: NonNull<u8>) -> Result<(), FreeError> {
        let address = address.as_ptr() as usize;
        if !self.range.contains(&address) {
            return Err(FreeError::OutsideRange { address });
        }
        let offset = address - self.range.start;
        let (number, page) = (offset >> BLOCK_SHIFT, offset >> PAGE_SHIFT & (BLOCK_PAGES - 1));
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(self.why_not(address));
        }
        match self.table.get(number).map(|block| (block, block.role())) {
            Some((block, Role::Small { .. })) => self.free_small(address, number, block, page),
            Some((_, Role::Head { blocks })) if page == 0 => self.free_run(address, number, blocks as usize),
            _ => Err(self.why_not(address)),
        }
    }

    #[inline]
    fn free_small(
        &self,
        address: usize,
        number: usize,
        block: &Block,
        first: usize,
    ) -> Result<(), FreeError> {
        let Some(leaf) = block.leaf(&self.platform) else { return Err(self.why_not(address)) };
        let Some(mut entry) = claim(&leaf[first]) else { return Err(self.why_not(address)) };
        let mut pages = 1;
        while !entry.is_last() {
            // A small area ends in its block, so this does; the bound is for the compiler.
            let Some(slot) = leaf.get(first + pages) else { unreachable!("the area ends in its block") };
            entry = unmap(slot);
            pages += 1;
        }
        self.reclaim_small(number, block, leaf, first, pages, pages);
        Ok(())
    }

    /// Flushes a small area of `pages` pages, the first `filled` of them quarantined, and gives
    /// its frames and its pages, guard page included, back.
    #[inline]
    fn reclaim_small(
        &self,
        number: usize,
        block: &Block,
        leaf: &Table,
        first: usize,
        pages: usize,
        filled: usize,
    ) {
        let entries = &leaf[first..=first + pages];
        let start = self.address(number, first);
        // The guard page was never present: nothing to flush there.
        let entries = Unflushed::new(entries, start..start + filled.max(1) * PAGE_SIZE)
            .flush(&self.platform, self.flush_ceiling());
        self.platform.give_frames(entries[..filled].iter().filter_map(take_quarantined));
        entries[pages].store(Entry::UNUSED.0, Ordering::Relaxed);
        self.give_pages(number, block, first, pages + 1);
    }

    fn free_run(&self, address: usize, first: usize, count: usize) -> Result<(), FreeError> {
        if claim(self.entry(first, 0)).is_none() {
            return Err(self.why_not(address));
        }
        for number in first..first + count {
            self.block(number).set_role(Role::Unused);
        }
        self.free_blocks(first, count, first + count);
        Ok(())
    }

    /// Unmaps `mapped` blocks from `first`, some of them perhaps only in part, flushes them, and
    /// gives frames, leaf tables, and the blocks up to `end` back.
    fn free_blocks(&self, first: usize, mapped: usize, end: usize) {
        for number in first..first + mapped {
            self.unmap_block(number);
        }
        let blocks = first..first + mapped;
        let range = self.address(first, 0)..self.address(first, 0) + mapped * BLOCK_SIZE;
        for number in Unflushed::new(blocks, range).flush(&self.platform, self.flush_ceiling()) {
            self.reclaim_block(number);
        }
        self.arena.free(first, end - first);
    }

    /// Quarantines what a block of a run maps, and unlinks its leaf table.
    fn unmap_block(&self, number: usize) {
        let Some(link) = self.block_entry(number) else { return };
        match self.table.get(number).and_then(|block| block.leaf(&self.platform)) {
            Some(leaf) => {
                // The head's first page is quarantined already if it was claimed.
                let rest = usize::from(!Entry(leaf[0].load(Ordering::Relaxed)).is_present());
                for entry in &leaf[rest..] {
                    if !Entry(entry.load(Ordering::Relaxed)).is_present() {
                        break;
                    }
                    unmap(entry);
                }
                link.store(Entry::UNUSED.0, Ordering::Relaxed);
            }
            None if Entry(link.load(Ordering::Relaxed)).is_present() => {
                unmap(link);
            }
            None => {}
        }
    }

    /// Gives back the frames and the leaf table of a block that was unmapped and flushed.
    fn reclaim_block(&self, number: usize) {
        let Some(leaf) = self.table.get(number).and_then(|block| block.leaf(&self.platform)) else {
            if let Some(frame) = self.block_entry(number).and_then(take_quarantined) {
                self.platform.give_huge_frame(frame);
            }
            return;
        };
        self.platform.give_frames(leaf.iter().map_while(take_quarantined));
        if let Some(leaf) = self.block(number).set_leaf(None) {
            self.give_leaf(leaf);
        }
    }
}

/// Marks the ends of an area that is complete, the first page last: it makes the area known.
#[inline]
fn publish(first: &AtomicU64, last: &AtomicU64) {
    // Nobody else writes these entries, but a CPU may set accessed and dirty bits: they are set.
    last.store(Entry(last.load(Ordering::Relaxed)).last_if(true).0, Ordering::Relaxed);
    first.store(Entry(first.load(Ordering::Relaxed)).first_if(true).0, Ordering::Release);
}

/// Unmaps the first page of an area, if it is one and no other CPU was faster: the entry before.
#[inline]
fn claim(slot: &AtomicU64) -> Option<Entry> {
    let mut entry = Entry(slot.load(Ordering::Acquire));
    while entry.is_first() {
        let quarantined = entry.quarantined().0;
        match slot.compare_exchange(entry.0, quarantined, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(entry),
            Err(now) => entry = Entry(now),
        }
    }
    None
}

/// Unmaps a page of an area that was claimed: the entry before.
#[inline]
fn unmap(slot: &AtomicU64) -> Entry {
    let entry = Entry(slot.load(Ordering::Relaxed));
    slot.store(entry.quarantined().0, Ordering::Relaxed);
    entry
}

/// Takes the frame out of an entry that every CPU has flushed, and makes the entry unused.
#[inline]
fn take_quarantined(slot: &AtomicU64) -> Option<Frame> {
    let frame = Entry(slot.load(Ordering::Relaxed)).quarantined_frame();
    slot.store(Entry::UNUSED.0, Ordering::Relaxed);
    frame
}
