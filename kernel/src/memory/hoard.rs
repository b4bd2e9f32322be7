//! Taking frames away from everybody, for tests and experiments that need memory to be out.

use super::frames;
use crate::arch::paging::direct_map;
use core::iter;
use vmalloc::Frame;

/// Single frames that nobody else can have until it is dropped. They are in a list through the frames themselves, so
/// nothing is allocated for it.
pub struct Hoard(Option<Frame>);

impl Hoard {
    /// Takes so many frames, or all that [`frames::take`] finds.
    #[must_use]
    pub fn take(count: usize) -> Self {
        let mut hoard = Self(None);
        frames::take(count, |frame| {
            let next = hoard.0.map_or(0, Frame::number);
            // SAFETY: the frame is ours, and the direct map shows it.
            unsafe { direct_map::pointer(frame).cast::<u64>().write(next) };
            hoard.0 = Some(frame);
        });
        hoard
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        while let Some(frame) = self.0 {
            // SAFETY: `take` wrote it, and nobody else has the frame.
            let next = unsafe { direct_map::pointer(frame).cast::<u64>().read() };
            // No allocator has frame 0.
            self.0 = (next != 0).then(|| Frame::new(next));
            // SAFETY: the frame is ours, and its link was read.
            unsafe { frames::give(iter::once(frame)) };
        }
    }
}
