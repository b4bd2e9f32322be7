//! Page tables by `x86_64`'s `OffsetPageTable`, page by page, behind a lock.

use crate::{
    arch::{
        cpu::Pin,
        layout,
        paging::direct_map,
        tlb::{self, Cpus},
    },
    lock_class,
    memory::{self, frames},
    services::reclaim,
    sync::SpinLock,
};
use alloc::vec::Vec;
use core::{
    iter,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};
use vmalloc::{Forbid, Frame, PAGE_SHIFT, PAGE_SIZE, Platform, Reach};
use x86_64::{
    PhysAddr, VirtAddr,
    structures::paging::{
        FrameAllocator, FrameDeallocator, Mapper as _, OffsetPageTable, Page, PageTable,
        PageTableFlags as Flags, PhysFrame, Size4KiB,
        mapper::{CleanUp, MapToError},
    },
};

/// Frames that are taken, or unmapped and flushed, together.
pub(super) type Batch = heapless::Vec<Frame, 128>;

/// Of what is mapped.
const FLAGS: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::NO_EXECUTE);

/// The page tables of one entry of the top level table in use. A top level table of their own has that entry as well, so
/// that `x86_64`'s mapper has a table to itself.
pub(super) struct Mapper {
    tables: SpinLock<OffsetPageTable<'static>>,
    /// The top level table of its own.
    top: Frame,
    range: Range<usize>,
}

impl Mapper {
    /// Makes one for the range, without pages; `None` without frames.
    pub fn new(range: Range<usize>) -> Option<Self> {
        let top = reclaim::take_table()?;
        let Some(below) = reclaim::take_table() else {
            give(iter::once(top));
            return None;
        };
        // SAFETY: the frame is ours, full of zeros, and the direct map shows it for ever.
        let table = unsafe { direct_map::pointer(top).cast::<PageTable>().as_mut() };
        table[VirtAddr::new(range.start as u64).p4_index()]
            .set_addr(PhysAddr::new(below.address()), Flags::PRESENT | Flags::WRITABLE);
        // SAFETY: the direct map shows all frames, and the hierarchy of tables is ours.
        let tables = unsafe { OffsetPageTable::new(table, VirtAddr::new(layout::DIRECT_MAP_START)) };
        let tables = SpinLock::new(lock_class!("instead page tables"), tables);
        entry_in_use(range.start)
            .store(below.address() | (Flags::PRESENT | Flags::WRITABLE).bits(), Ordering::Release);
        Some(Self { tables, top, range })
    }

    /// Maps frames, page after page from `start`; how many, which is fewer than there are if there is no frame for a table.
    pub fn map(&self, start: usize, frames: &[Frame]) -> usize {
        let (first, mut tables) = (page(start), self.tables.lock());
        for (count, frame) in frames.iter().enumerate() {
            let frame = PhysFrame::containing_address(PhysAddr::new(frame.address()));
            // SAFETY: the addresses were taken for these frames, which are the caller's.
            match unsafe { tables.map_to(first + count as u64, frame, FLAGS, &mut TableFrames) } {
                // No CPU has a translation of what was not mapped.
                Ok(flush) => flush.ignore(),
                Err(MapToError::FrameAllocationFailed) => return count,
                Err(error) => panic!("page {count} behind {start:#x} cannot be mapped: {error:?}"),
            }
        }
        frames.len()
    }

    /// Unmaps pages; their frames, which CPUs can reach until they have [flushed](flush).
    pub fn unmap(&self, pages: Range<usize>, frames: &mut Batch) {
        let mut tables = self.tables.lock();
        for page in Page::range(page(pages.start), page(pages.end)) {
            match tables.unmap(page) {
                Ok((frame, flush)) => {
                    flush.ignore();
                    push(frames, Frame::new(frame.start_address().as_u64() >> PAGE_SHIFT));
                }
                Err(error) => panic!("{page:?} cannot be unmapped: {error:?}"),
            }
        }
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        entry_in_use(self.range.start).store(0, Ordering::Release);
        let mut emptied = Emptied(Vec::new());
        let pages = Page::range_inclusive(page(self.range.start), page(self.range.end - PAGE_SIZE));
        // SAFETY: the tables are unlinked already. They go when no CPU can walk to them.
        unsafe { self.tables.get_mut().clean_up_addr_range(pages, &mut emptied) };
        flush_all(Forbid::Speculation);
        give(emptied.0.into_iter().chain(iter::once(self.top)));
    }
}

/// Makes all CPUs forget pages that were unmapped, at once. As the library does it: few of them one by one, many with
/// everything else; a CPU that stands idle is not interrupted.
pub(super) fn flush(pages: Range<usize>) {
    let ceiling = memory::vmalloc().tunables().single_page_flush_ceiling.load(Ordering::Relaxed);
    if pages.len() <= ceiling * PAGE_SIZE {
        let _pin = Pin::new();
        tlb::shootdown().flush_pages(&Cpus, &[pages], Forbid::Use);
    } else {
        flush_all(Forbid::Use);
    }
}

fn flush_all(forbid: Forbid) {
    let _pin = Pin::new();
    let shootdown = tlb::shootdown();
    shootdown.round(&Cpus, shootdown.stamp(), Reach::Everyone, forbid);
}

/// Adds a frame, for which there is room.
pub(super) fn push(frames: &mut Batch, frame: Frame) {
    frames.push(frame).unwrap_or_else(|_| unreachable!("no more were asked for"));
}

/// The entry of the top level table in use that maps the address.
fn entry_in_use(address: usize) -> &'static AtomicU64 {
    let slot = usize::from(VirtAddr::new(address as u64).p4_index());
    let table = direct_map::pointer(memory::vmalloc().platform().root()).cast::<AtomicU64>();
    // SAFETY: the table has 512 entries and stays for ever.
    unsafe { table.add(slot).as_ref() }
}

fn page(address: usize) -> Page {
    Page::containing_address(VirtAddr::new(address as u64))
}

/// Frames for tables.
struct TableFrames;

// SAFETY: a frame that was taken belongs to the taker.
unsafe impl FrameAllocator<Size4KiB> for TableFrames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let table = frames::take_table()?;
        Some(PhysFrame::containing_address(PhysAddr::new(table.address())))
    }
}

/// Tables that were unlinked.
struct Emptied(Vec<Frame>);

impl FrameDeallocator<Size4KiB> for Emptied {
    unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
        self.0.push(Frame::new(frame.start_address().as_u64() >> PAGE_SHIFT));
    }
}

/// Gives back frames of tables that no CPU can reach.
fn give(tables: impl Iterator<Item = Frame>) {
    for table in tables {
        // SAFETY: it was taken here, and nobody uses it any more, say the callers.
        unsafe { frames::give_table(table) };
    }
}
