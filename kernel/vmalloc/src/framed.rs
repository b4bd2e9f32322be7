//! Values of the library that have a frame of the machine's to themselves, so that none needs room in the instance or on
//! a stack.

use crate::{PAGE_SIZE, Platform, Returned, atomic::framed::AtomicPtr};
use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// What may be made of a frame full of zeros.
///
/// # Safety
/// Zeros are a value of the type.
pub(crate) unsafe trait Zeroable {}

// SAFETY: null pointers are zeros.
unsafe impl<T, const N: usize> Zeroable for [AtomicPtr<T>; N] {}
// SAFETY: as above: that is what `None` is.
unsafe impl<T, const N: usize> Zeroable for [Option<&'static mut T>; N] {}
// SAFETY: integers.
unsafe impl<const N: usize> Zeroable for [u16; N] {}

/// A value in a frame of its own, which [`release`](Self::release) gives back.
pub(crate) struct Framed<T>(NonNull<T>);

// SAFETY: it owns the value.
unsafe impl<T: Send> Send for Framed<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Framed<T> {}

impl<T: Zeroable> Framed<T> {
    /// Makes a value of zeros. `None` means that there was no frame.
    pub fn zeroed<P: Platform>(platform: &P) -> Option<Self> {
        const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
        platform.take_table().map(|frame| Self(platform.direct_map(frame).cast()))
    }
}

impl<T> Framed<T> {
    /// Takes back what [`pointer`](Self::pointer) gave out.
    ///
    /// # Safety
    /// The pointer is that of a value that was not released, and that nobody else has.
    pub unsafe fn from_pointer(pointer: NonNull<T>) -> Self {
        Self(pointer)
    }

    /// Gives the frame back.
    pub fn release<P: Platform>(mut self, platform: &P) {
        // SAFETY: it is gone.
        unsafe { self.give_back(platform) };
    }

    /// Gives back the frame of a value that cannot be moved, because what contains it is being dropped.
    ///
    /// # Safety
    /// The value is not used again.
    pub unsafe fn give_back<P: Platform>(&mut self, platform: &P) {
        // SAFETY: the caller's promise.
        unsafe { self.0.drop_in_place() };
        platform.give_table(Returned::new(platform.frame_of(self.0.cast())));
    }

    /// Returns where the value is, until it is released.
    pub fn pointer(&self) -> NonNull<T> {
        self.0
    }
}

impl<T> Deref for Framed<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: promises 1 to 3 of `Platform`: the frame is this value's, mapped, large enough and aligned (asserted in
        // `zeroed`), and was full of zeros.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Framed<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }
}
