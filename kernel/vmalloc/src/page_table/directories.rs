//! Directories, the page tables above the leaf tables: finds and makes the directory entry of a block.
//!
//! Directories are shared by all that lies in their range, other instances included, so they are linked by
//! compare-and-swap and no lock guards them. A lower directory, which maps 1 GiB, goes when nothing is mapped below
//! it (`reclaim/directories.rs`); who follows one has a block below, or is in a read-side section. An upper directory,
//! which maps 512 GiB, stays, and so does one that was there before, such as a boot loader's: the machine did not give it.

use super::{Entry, Slot, Slots};
use crate::{
    BLOCK_SHIFT, Frame, Platform, Returned,
    atomic::{AtomicUsize, Ordering},
};
use core::ops::Range;

/// log2 of the bytes that an entry of the top level table maps.
pub(crate) const ROOT_SHIFT: u32 = 39;
/// log2 of the bytes that a lower directory maps.
const LOWER_SHIFT: u32 = 30;

/// How far up a range there may be lower directories that an instance made: a search for those that are empty ends there, as
/// the lowest addresses are used first, and a range may have places for tens of thousands.
pub(crate) struct MadeUpTo(AtomicUsize);

impl MadeUpTo {
    /// Makes that of a new instance, for which an earlier one may have left directories.
    pub fn new<P: Platform>(platform: &P, range: &Range<usize>) -> Self {
        Self(AtomicUsize::new(lower(platform, range).last().map_or(range.start, |(start, _)| behind(start))))
    }

    /// Makes it include an address before a directory is made for it.
    // Relaxed: who finds the directory's blocks free has acquired what was done before they were freed.
    pub fn include(&self, address: usize) {
        if address >= self.0.load(Ordering::Relaxed) {
            self.0.fetch_max(behind(address), Ordering::Relaxed);
        }
    }

    /// Returns the part of a range that it includes.
    pub fn of(&self, range: &Range<usize>) -> Range<usize> {
        range.start..range.end.min(self.0.load(Ordering::Relaxed))
    }
}

/// Returns the first address behind what the lower directory of an address maps, or the last address of all.
fn behind(address: usize) -> usize {
    (address | ((1 << LOWER_SHIFT) - 1)).saturating_add(1)
}

/// Returns the table in a frame.
///
/// # Safety
/// The frame is a page table that outlives the reference.
#[inline]
pub(crate) unsafe fn table<P: Platform>(platform: &P, frame: Frame) -> &Slots {
    // SAFETY: promise 2 of `Platform`: the direct map shows the frame. All bit patterns are valid
    // entries, the frame is aligned to its size, and entries are atomic, so sharing is fine.
    unsafe { platform.direct_map(frame).cast::<Slots>().as_ref() }
}

/// Returns the top level table.
pub(super) fn root<P: Platform>(platform: &P) -> &Slots {
    // SAFETY: promise 4 of `Platform`.
    unsafe { table(platform, platform.root()) }
}

/// Returns the directory that a slot links, if it links one.
pub(super) fn below<'a, P: Platform>(platform: &'a P, slot: &Slot) -> Option<&'a Slots> {
    let entry = slot.look();
    // SAFETY: a present entry at the levels above the blocks links a directory; see the module's documentation.
    entry.is_present().then(|| unsafe { table(platform, entry.frame()) })
}

/// Returns the number of the entry for an address in a table whose entries map 2 to the power of `shift` bytes each.
pub(super) fn index(address: usize, shift: u32) -> usize {
    address >> shift & 511
}

/// Finds the entry that maps the block at `address`, if the directories above it exist.
pub(crate) fn block_entry<P: Platform>(platform: &P, address: usize) -> Option<&Slot> {
    let lower = below(platform, directory_slot(platform, address)?)?;
    Some(&lower[index(address, BLOCK_SHIFT)])
}

/// Finds the entry that links the lower directory at `address`, if the upper one exists.
fn directory_slot<P: Platform>(platform: &P, address: usize) -> Option<&Slot> {
    let upper = below(platform, &root(platform)[index(address, ROOT_SHIFT)])?;
    Some(&upper[index(address, LOWER_SHIFT)])
}

/// Returns the first address behind the lower directory that is missing at `address`; `None` if there is one.
pub(crate) fn behind_missing<P: Platform>(platform: &P, address: usize) -> Option<usize> {
    let is_there = directory_slot(platform, address).is_some_and(|slot| slot.look().is_present());
    (!is_there).then(|| behind(address))
}

/// Returns the lower directories that the library made and that map nothing outside of a range: the first address of each,
/// and the entry that links it. There may be many places for one, so upper directories are looked up once.
pub(crate) fn lower<'a, P: Platform>(
    platform: &'a P,
    range: &Range<usize>,
) -> impl Iterator<Item = (usize, &'a Slot)> + use<'a, P> {
    let (mut number, mut upper) = (usize::MAX, None);
    let lower = range.start.div_ceil(1 << LOWER_SHIFT)..range.end >> LOWER_SHIFT;
    lower.filter_map(move |lower| {
        let address = lower << LOWER_SHIFT;
        if number != address >> ROOT_SHIFT {
            number = address >> ROOT_SHIFT;
            upper = below(platform, &root(platform)[index(address, ROOT_SHIFT)]);
        }
        let slot = &upper?[index(address, LOWER_SHIFT)];
        slot.look().is_made_directory().then_some((address, slot))
    })
}

/// Finds the entry that maps the block at `address`, and makes the directories above it that are missing. `None` means
/// that there was no frame for one.
pub(crate) fn make_block_entry<P: Platform>(platform: &P, address: usize) -> Option<&Slot> {
    let upper = make_directory(platform, &root(platform)[index(address, ROOT_SHIFT)])?;
    let lower = make_directory(platform, &upper[index(address, LOWER_SHIFT)])?;
    Some(&lower[index(address, BLOCK_SHIFT)])
}

/// Returns the entries of the top level table that map a range of addresses.
fn root_slots<'a, P: Platform>(platform: &'a P, range: &Range<usize>) -> impl Iterator<Item = &'a Slot> {
    let root = root(platform);
    (range.start >> ROOT_SHIFT..=(range.end - 1) >> ROOT_SHIFT).map(|number| &root[number & 511])
}

/// Fills the top level entries of a range, so that later changes below them are seen by every CPU
/// and every address space that copied them. `None` means that there was no frame for a directory.
pub(crate) fn fill_root<P: Platform>(platform: &P, range: &Range<usize>) -> Option<()> {
    root_slots(platform, range).try_for_each(|slot| make_directory(platform, slot).map(drop))
}

/// Counts the directories in a range, upper and lower ones.
pub(crate) fn count<P: Platform>(platform: &P, range: &Range<usize>) -> usize {
    root_slots(platform, range)
        .filter_map(|slot| below(platform, slot))
        .map(|upper| 1 + upper.iter().filter(|slot| slot.look().is_present()).count())
        .sum()
}

/// Takes a table from the machine, full of zeros, which debug builds assert.
pub(crate) fn take_table<P: Platform>(platform: &P) -> Option<Frame> {
    let frame = platform.take_table()?;
    if cfg!(all(debug_assertions, not(loom))) {
        // SAFETY: the frame was just taken, and nobody else has it.
        let is_empty = unsafe { table(platform, frame) }.iter().all(|slot| slot.get().is_unused());
        assert!(is_empty, "the table at {:#x} is not full of zeros (promise 3 of Platform)", frame.address());
    }
    Some(frame)
}

/// Returns the directory that a slot links, and links a new one if there is none. `None` means that there was no frame.
fn make_directory<'a, P: Platform>(platform: &'a P, slot: &Slot) -> Option<&'a Slots> {
    if !slot.look().is_present() {
        let frame = take_table(platform)?;
        // Whatever is not present links nothing, zero or not. Whoever sees the link, CPUs that walk the tables
        // included, sees the zeros below.
        let linked = slot.try_update(|entry| (!entry.is_present()).then_some(Entry::directory(frame)));
        if linked.is_err() {
            platform.give_table(Returned::new(frame));
        }
    }
    below(platform, slot)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{
        PAGE_SIZE, Request, Vmalloc,
        tests::{
            machine::Machine,
            support::{START, free},
        },
    };

    const GIB: usize = 1 << 30;

    #[test]
    fn directories_are_looked_for_up_to_the_last_one_that_was_made() {
        let machine = Machine::new(1, 10);
        let range = 5 * GIB + 7..9 * GIB + 3;
        let made = MadeUpTo::new(&&machine, &range);
        assert_eq!(made.of(&range), range.start..range.start);
        for (address, end) in [
            (range.start, 6 * GIB),
            (6 * GIB, 7 * GIB),
            (8 * GIB - 1, 8 * GIB),
            (6 * GIB, 8 * GIB),
            (9 * GIB, range.end),
        ] {
            made.include(address);
            assert_eq!(made.of(&range), range.start..end, "{address:#x}");
        }
        made.include(usize::MAX - 7);
        assert_eq!(made.of(&(0..usize::MAX)).end, usize::MAX);
    }

    /// Seen failing with a search that ends where the instance itself made the last one.
    #[test]
    fn directories_that_an_earlier_instance_left_are_found() {
        let machine = Machine::new(1, 200);
        let first = (START + GIB) & !(GIB - 1);
        // SAFETY: nobody else maps anything there.
        let instance = |range| unsafe { Vmalloc::new(&machine, range) }.expect("frames enough");
        // It shares both directories with others, and so leaves them.
        let earlier = instance(first + GIB / 2..first + 3 * GIB / 2);
        for start in [first + GIB / 2, first + GIB] {
            let request = Request::new(PAGE_SIZE).within(start, start + GIB / 2);
            free(&earlier, earlier.allocate(request).expect("room")).expect("allocated");
        }
        drop(earlier);
        let later = instance(first..first + 2 * GIB);
        let before = later.stats().directories;
        later.trim();
        assert_eq!(later.stats().directories, before - 2);
    }
}
