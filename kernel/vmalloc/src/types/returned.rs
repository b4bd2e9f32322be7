//! What the library gives back to its machine.

use crate::Frame;

/// Frames that a machine [gave](crate::Platform::take_frames) and gets back: no CPU can reach them any more. Only the
/// library makes one, so nobody else can give a frame away that is in use.
///
/// A machine takes out what is in it, or goes over the frames of an iterator. What nobody can write is this:
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

    /// Takes it out.
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
