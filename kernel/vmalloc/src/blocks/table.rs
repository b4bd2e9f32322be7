//! The table of descriptors: finds that of a block by its number, by two loads, without a lock, in any context.
//!
//! Descriptors stand in frames of [`PER_FRAME`], found through frames of pointers, the table's directories. Either
//! is made when it is first needed, and freed when all of its blocks are free (`records`).
//!
//! An owner of a block may keep its descriptor until it frees the block. Everybody else is a
//! [`Reader`]: pinned, or with interrupts off, from the look-up to the last use. A record is unlinked first, and
//! freed when every CPU has had a moment without either.

use super::{
    Block,
    records::{Record, Unlinked, is_linked},
};
use crate::{CpuPin, PAGE_SIZE, Platform, arena::MAX_BLOCKS};
use core::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

/// Stands for no block where the number of one is stored.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

/// What holds up grace periods while it lives: a pin, or a read-side section.
pub(crate) trait Reader {}

impl<P: CpuPin> Reader for P {}

/// Descriptors in one frame.
pub(super) const PER_FRAME: usize = PAGE_SIZE / size_of::<Block>();
/// Entries of a directory.
pub(super) const ENTRIES: usize = PAGE_SIZE / size_of::<usize>();

/// A frame of descriptors.
pub(crate) type Descriptors = [Block; PER_FRAME];
/// A frame of pointers to those.
pub(crate) type Directory = [AtomicPtr<Descriptors>; ENTRIES];

/// Finds the descriptor of a block by its number.
pub(crate) struct BlockTable {
    directories: [AtomicPtr<Directory>; Self::DIRECTORIES],
}

impl BlockTable {
    /// Directories of the largest instance.
    pub const DIRECTORIES: usize = MAX_BLOCKS.div_ceil(Directory::BLOCKS);

    #[inline(always)]
    pub fn new() -> Self {
        Self { directories: [const { AtomicPtr::new(ptr::null_mut()) }; Self::DIRECTORIES] }
    }

    /// Returns the descriptor of block `number`; `None` if it has none now, which means that the block is free.
    #[inline]
    pub fn get<'a>(&'a self, number: usize, _: &'a impl Reader) -> Option<&'a Block> {
        // SAFETY: the reader, who outlives the result, holds up grace periods.
        unsafe { self.get_owned(number) }
    }

    /// Returns the descriptor of block `number` to who has the block; `None` if it was not made yet.
    ///
    /// # Safety
    /// One of these holds up to the last use of the result, so that no record on the way to it is freed:
    /// 1. The caller has block `number`, which so is not free.
    /// 2. The caller is a [`Reader`], and was one before the call.
    #[inline]
    pub unsafe fn get_owned(&self, number: usize) -> Option<&Block> {
        let (frame, place) = split(number);
        let directory = self.directories.get(frame / ENTRIES)?.load(Ordering::Acquire);
        // SAFETY: a pointer in the table is null or that of an initialised record, which is freed when all of its blocks
        // are free and a grace period has passed since it was unlinked. The caller's promise excludes one of the two.
        let directory = unsafe { directory.as_ref() }?;
        let frame = directory[frame % ENTRIES].load(Ordering::Acquire);
        // SAFETY: as above.
        unsafe { frame.as_ref() }?.get(place)
    }

    /// Returns the descriptor of block `number`, which the caller has, and makes it if it is missing. `None` means that
    /// there was no frame for it.
    pub fn make<P: Platform>(&self, platform: &P, number: usize) -> Option<&Block> {
        let (frame, place) = split(number);
        let directory = self.directories.get(frame / ENTRIES)?;
        let directory =
            publish(platform, directory, || [const { AtomicPtr::new(ptr::null_mut()) }; ENTRIES])?;
        let first = frame * PER_FRAME;
        let new = || core::array::from_fn(|place| Block::new(first + place));
        publish(platform, &directory[frame % ENTRIES], new)?.get(place)
    }

    /// Finds the first block at or above `from` that has a descriptor in the directory of `from`; `Err` has the first block
    /// of the next directory if there is none.
    pub fn next(&self, from: usize, _: &impl Reader) -> Result<usize, usize> {
        let frame = split(from).0;
        let directory = self.directories.get(frame / ENTRIES).map(|slot| slot.load(Ordering::Acquire));
        // SAFETY: as in `get_owned`; the reader holds up grace periods.
        let directory = directory.and_then(|directory| unsafe { directory.as_ref() });
        let found = directory.and_then(|slots| slots[frame % ENTRIES..].iter().position(is_linked));
        match found {
            Some(behind) => Ok(((frame + behind) * PER_FRAME).max(from)),
            None => Err((frame / ENTRIES + 1) * Directory::BLOCKS),
        }
    }

    /// Returns how many frames directory `index` and the descriptors below it take.
    pub fn frames(&self, index: usize, _: &impl Reader) -> usize {
        // SAFETY: as in `get_owned`; the reader holds up grace periods.
        let directory = unsafe { self.directories[index].load(Ordering::Acquire).as_ref() };
        directory.map_or(0, |slots| 1 + slots.iter().filter(|slot| is_linked(slot)).count())
    }

    /// Returns where directory `index` is linked.
    pub fn directory(&self, index: usize) -> &AtomicPtr<Directory> {
        &self.directories[index]
    }

    /// Returns where the frames of descriptors below directory `index` are linked, with the first block of each. The
    /// caller is the only one who unlinks directories.
    pub fn descriptors(&self, index: usize) -> impl Iterator<Item = (&AtomicPtr<Descriptors>, usize)> {
        // SAFETY: as in `get_owned`; nobody else unlinks it.
        let directory = unsafe { self.directories[index].load(Ordering::Acquire).as_ref() };
        let first = index * Directory::BLOCKS;
        directory.into_iter().flatten().zip((first..).step_by(PER_FRAME))
    }

    /// Gives all records back.
    pub fn release<P: Platform>(&mut self, platform: &P) {
        for record in self.directories.iter().filter_map(Unlinked::take) {
            // SAFETY: `&mut self` means that nobody holds a reference.
            unsafe { record.free(platform) };
        }
    }
}

/// Returns which frame of descriptors that of block `number` is in, and its place there. It divides by 21 in one
/// multiplication, which is exact for all numbers of blocks.
#[inline]
fn split(number: usize) -> (usize, usize) {
    const RECIPROCAL: u64 = (1u64 << 32).div_ceil(PER_FRAME as u64);
    const { assert!((RECIPROCAL * PER_FRAME as u64 - (1 << 32)) * (MAX_BLOCKS as u64) < 1 << 32) };
    let frame = ((number as u64 * RECIPROCAL) >> 32) as usize;
    (frame, number - frame * PER_FRAME)
}

/// Returns the record that `slot` links, and links a new one if there is none. That is initialised first, and
/// published by compare-and-swap, so that no other CPU finds it half made. `None` means that there was no frame.
fn publish<'a, T, P: Platform>(
    platform: &P,
    slot: &'a AtomicPtr<T>,
    new: impl FnOnce() -> T,
) -> Option<&'a T> {
    const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
    let mut found = slot.load(Ordering::Acquire);
    if found.is_null() {
        let frame = platform.take_table()?;
        let record = platform.direct_map(frame).cast::<T>();
        // SAFETY: promises 1 and 2 of `Platform`: the frame is ours alone and mapped; it is large
        // enough and aligned (asserted above).
        unsafe { record.write(new()) };
        match slot.compare_exchange(ptr::null_mut(), record.as_ptr(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => found = record.as_ptr(),
            Err(other) => {
                platform.give_table(frame);
                found = other;
            }
        }
    }
    // SAFETY: not null, and published records are initialised. It stays while the caller has one of its blocks.
    Some(unsafe { &*found })
}
