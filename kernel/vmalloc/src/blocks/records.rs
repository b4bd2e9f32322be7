//! Records: frames of the table of descriptors, which are unlinked, and then freed or linked again.

pub(crate) use super::table::{Descriptors, Directory};
use super::table::{ENTRIES, PER_FRAME};
use crate::{
    Platform, Returned,
    atomic::framed::{AtomicPtr, Ordering},
};
use core::ptr::{self, NonNull};

/// What is in a frame of the table.
pub(crate) trait Record {
    /// Blocks whose descriptors are in it, or found through it.
    const BLOCKS: usize;

    /// Gives back the frames of other records that it links, and returns how many there were.
    ///
    /// # Safety
    /// What [`Unlinked::free`] demands of the record holds.
    unsafe fn free_below<P: Platform>(&self, platform: &P) -> usize;
}

impl Record for Descriptors {
    const BLOCKS: usize = PER_FRAME;

    unsafe fn free_below<P: Platform>(&self, _: &P) -> usize {
        0
    }
}

impl Record for Directory {
    const BLOCKS: usize = PER_FRAME * ENTRIES;

    unsafe fn free_below<P: Platform>(&self, platform: &P) -> usize {
        let frames = self.iter().filter_map(Unlinked::take);
        // SAFETY: the caller's promise: nobody holds what the directory links.
        frames.map(|frame| unsafe { frame.free(platform) }).sum()
    }
}

/// A record that was unlinked: nobody finds it any more, but readers who found it before may still hold it.
#[must_use = "it is lost unless it is linked again or freed"]
pub(crate) struct Unlinked<'a, T> {
    slot: &'a AtomicPtr<T>,
    record: NonNull<T>,
}

impl<'a, T: Record> Unlinked<'a, T> {
    /// Unlinks the record in `slot`, if there is one. While readers may come, the caller has all blocks of it, so that
    /// nobody makes another one meanwhile.
    pub fn take(slot: &'a AtomicPtr<T>) -> Option<Self> {
        let record = NonNull::new(slot.swap(ptr::null_mut(), Ordering::AcqRel))?;
        Some(Self { slot, record })
    }

    /// Links the record again where it was.
    pub fn relink(self) {
        self.slot.store(self.record.as_ptr(), Ordering::Release);
    }

    /// Gives back its frame, and those of the records that it links, and returns how many there were.
    ///
    /// # Safety
    /// Nobody holds a reference to any of these records:
    /// 1. A grace period has passed since it was unlinked.
    /// 2. Nobody but the caller has one of its blocks.
    pub unsafe fn free<P: Platform>(self, platform: &P) -> usize {
        // SAFETY: published records are initialised; the caller promises that nobody holds this one or what it links.
        let below = unsafe { self.record.as_ref().free_below(platform) };
        platform.give_table(Returned::new(platform.frame_of(self.record.cast())));
        below + 1
    }
}

/// Returns whether a record is linked in a slot.
pub(crate) fn is_linked<T>(slot: &AtomicPtr<T>) -> bool {
    !slot.load(Ordering::Acquire).is_null()
}
