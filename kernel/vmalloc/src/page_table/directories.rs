//! The page tables above the leaves: finds and makes the directory entry of a block.
//!
//! Directories are shared by all that lies in their range, other instances included, so they are
//! linked by compare-and-swap and no lock guards them. Those right above the leaves, one for each GiB, go
//! when nothing is mapped below (`gather.rs`); who follows them has a block below, or looks with
//! interrupts off. Those above, one for each 512 GiB, stay.

use crate::{
    page_table::entry::Entry,
    platform::{BLOCK_SHIFT, Frame, PAGE_SHIFT, Platform, Table},
};
use core::sync::atomic::{AtomicU64, Ordering};

/// log2 of the bytes that an entry of the top level table maps.
pub(crate) const ROOT_SHIFT: u32 = 39;
const LEVELS_ABOVE_BLOCK: [u32; 2] = [ROOT_SHIFT, 30];

/// The table in a frame.
///
/// # Safety
/// The frame is a page table that outlives the reference.
#[inline]
pub(crate) unsafe fn table<P: Platform>(platform: &P, frame: Frame) -> &Table {
    // SAFETY: promise 2 of `Platform`: the direct map shows the frame. All bit patterns are valid
    // entries, the frame is aligned to its size, and entries are atomic, so sharing is fine.
    unsafe { platform.direct_map(frame).cast::<Table>().as_ref() }
}

fn index(address: usize, shift: u32) -> usize {
    address >> shift & 511
}

/// The entry that maps the block at `address`, if the directories above it exist.
pub(crate) fn block_entry<P: Platform>(platform: &P, address: usize) -> Option<&AtomicU64> {
    // SAFETY: promise 4 of `Platform`.
    let mut directory = unsafe { table(platform, platform.root()) };
    for shift in LEVELS_ABOVE_BLOCK {
        let entry = Entry(directory[index(address, shift)].load(Ordering::Acquire));
        if !entry.is_present() {
            return None;
        }
        // SAFETY: a present entry at this level links a directory; see the module's documentation.
        directory = unsafe { table(platform, entry.frame()) };
    }
    Some(&directory[index(address, BLOCK_SHIFT)])
}

/// The entry that links the directory of the blocks from `address` on, if there is one above.
pub(crate) fn directory_slot<P: Platform>(platform: &P, address: usize) -> Option<&AtomicU64> {
    let [top, below] = LEVELS_ABOVE_BLOCK;
    // SAFETY: promise 4 of `Platform`.
    let root = unsafe { table(platform, platform.root()) };
    let entry = Entry(root[index(address, top)].load(Ordering::Acquire));
    // SAFETY: directories at this level stay.
    let upper = entry.is_present().then(|| unsafe { table(platform, entry.frame()) })?;
    Some(&upper[index(address, below)])
}

/// As [`block_entry`], making the directories that are missing. `None`: no frame for one.
pub(crate) fn make_block_entry<P: Platform>(platform: &P, address: usize) -> Option<&AtomicU64> {
    let [top, below] = LEVELS_ABOVE_BLOCK;
    // SAFETY: promise 4 of `Platform`.
    let root = unsafe { table(platform, platform.root()) };
    let upper = make_directory(platform, &root[index(address, top)])?;
    let lower = make_directory(platform, &upper[index(address, below)])?;
    Some(&lower[index(address, BLOCK_SHIFT)])
}

/// Fills the top level entries of a range, so that later changes below them are seen by every CPU
/// and every address space that copied them. `None`: no frame for a directory.
pub(crate) fn fill_root<P: Platform>(platform: &P, start: usize, end: usize) -> Option<()> {
    // SAFETY: promise 4 of `Platform`.
    let root = unsafe { table(platform, platform.root()) };
    for number in start >> ROOT_SHIFT..=(end - 1) >> ROOT_SHIFT {
        make_directory(platform, &root[number & 511])?;
    }
    Some(())
}

fn make_directory<'a, P: Platform>(platform: &'a P, slot: &AtomicU64) -> Option<&'a Table> {
    let mut entry = Entry(slot.load(Ordering::Acquire));
    if !entry.is_present() {
        let frame = platform.take_table()?;
        let link = Entry::table(frame);
        // Whatever is not present links nothing, zero or not.
        while !entry.is_present() {
            // Release: whoever sees the link, CPUs that walk the tables included, sees the zeros below.
            match slot.compare_exchange(entry.0, link.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => entry = link,
                Err(other) => entry = Entry(other),
            }
        }
        if entry != link {
            platform.give_table(frame);
        }
    }
    // SAFETY: a present entry at this level links a directory; see the module's documentation.
    Some(unsafe { table(platform, entry.frame()) })
}

/// The first address of page `page` of the block at `block`.
#[inline]
pub(crate) const fn page_address(block: usize, page: usize) -> usize {
    block + (page << PAGE_SHIFT)
}
