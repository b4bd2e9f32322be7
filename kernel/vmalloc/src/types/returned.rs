//! What the library gives back to its machine.

use crate::Frame;

/// Frames that a machine [gave](crate::Platform::take_frames) and gets back: no CPU can reach them any more.
/// Only the library can make one, so nobody else can give back a frame that is still in use.
///
/// A machine takes the contents out, or iterates over the frames. Nobody outside the library can write this:
///
/// ```compile_fail,E0624
/// # use vmalloc::{Frame, Platform, Returned};
/// fn give_away<P: Platform>(machine: &P, frame: Frame) {
///     machine.give_table(Returned::new(frame));
/// }
/// ```
#[derive(Debug)]
#[must_use = "the frames are lost"]
pub struct Returned<T>(T);

impl<T> Returned<T> {
    /// Says of frames that were taken that no CPU can reach them any more.
    #[inline(always)]
    pub(crate) fn new(frames: T) -> Self {
        Self(frames)
    }

    /// Takes the contents out.
    #[inline(always)]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<I: Iterator<Item = Frame>> IntoIterator for Returned<I> {
    type Item = Frame;
    type IntoIter = I;

    #[inline(always)]
    fn into_iter(self) -> I {
        self.0
    }
}
