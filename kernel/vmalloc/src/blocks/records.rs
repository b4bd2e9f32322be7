//! Records that are taken out of the table of descriptors: unlinked, then freed or linked again.

pub(crate) use super::table::{Descriptors, Directory};
use super::table::{ENTRIES, PER_FRAME};
use crate::Platform;
use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

/// A frame of the table.
pub(crate) trait Record {
    /// Blocks that it tells of.
    const BLOCKS: usize;

    /// Gives the frames of other records that it links back: how many.
    ///
    /// # Safety
    /// As [`Unlinked::free`].
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

/// A record that nobody finds any more. Readers who found it before may still hold it.
#[must_use = "it is lost unless it is linked again or freed"]
pub(crate) struct Unlinked<'a, T> {
    slot: &'a AtomicPtr<T>,
    record: NonNull<T>,
}

impl<'a, T: Record> Unlinked<'a, T> {
    /// What is linked in `slot`, if anything is. While readers may come, the caller has all its blocks: nobody
    /// makes another one meanwhile.
    pub fn take(slot: &'a AtomicPtr<T>) -> Option<Self> {
        let record = NonNull::new(slot.swap(ptr::null_mut(), Ordering::AcqRel))?;
        Some(Self { slot, record })
    }

    /// Links it again where it was.
    pub fn relink(self) {
        self.slot.store(self.record.as_ptr(), Ordering::Release);
    }

    /// Gives its frame back, and those of records it links: how many.
    ///
    /// # Safety
    /// Nobody holds a reference to any of them: a grace period has passed since it was unlinked, and nobody has
    /// one of its blocks but the caller.
    pub unsafe fn free<P: Platform>(self, platform: &P) -> usize {
        // SAFETY: published records are initialised; the caller promises that nobody holds this one or what it links.
        let below = unsafe { self.record.as_ref().free_below(platform) };
        platform.give_table(platform.frame_of(self.record.cast()));
        below + 1
    }
}

pub(crate) fn is_linked<T>(slot: &AtomicPtr<T>) -> bool {
    !slot.load(Ordering::Acquire).is_null()
}
