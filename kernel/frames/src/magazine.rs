//! Magazines: small stacks of frames in front of the buddy allocator.
//!
//! Every CPU owns one, so that most frames come and go without the lock that guards the
//! [`Buddy`]. The idea and the word are from Bonwick and Adams, "Magazines and Vmem"
//! (USENIX 2001). A magazine is refilled to half when empty and drained to half when full:
//! after either, half a magazine of pops *or* pushes must go by before the buddy allocator
//! is needed again, so that an owner that alternates at the edge does not bounce on it.

use crate::buddy::Buddy;
use crate::error::FreeError;
use core::error::Error;
use core::fmt;

/// A stack of up to `N` page frame numbers; last in, first out, so that the frame that
/// was freed last and may still be cached is used first.
#[derive(Clone, Debug)]
pub struct Magazine<const N: usize> {
    /// Slots below `len` hold frames; what the others hold means nothing.
    frames: [u64; N],
    /// At most `N`.
    len: usize,
}

/// The magazine has no room; holds the page frame number that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full(pub u64);

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room in the magazine for frame {:#x}", self.0)
    }
}

impl Error for Full {}

impl<const N: usize> Magazine<N> {
    /// An empty magazine. `N` must not be zero, which the compiler checks.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N > 0, "a magazine without room would refill and drain for ever") };
        Self { frames: [0; N], len: 0 }
    }

    /// Takes the frame that was pushed last; `None` if empty, time to
    /// [`refill`](Self::refill).
    #[inline(always)]
    #[must_use = "the frame is lost if the number is dropped"]
    pub fn pop(&mut self) -> Option<u64> {
        // Length zero wraps to an index that `get` refuses: one compare for both.
        let last = self.len.wrapping_sub(1);
        let frame = *self.frames.get(last)?;
        self.len = last;
        Some(frame)
    }

    /// Puts a frame on top.
    ///
    /// # Errors
    ///
    /// [`Full`] gives the frame back: time to [`drain`](Self::drain).
    #[inline(always)]
    pub fn push(&mut self, frame: u64) -> Result<(), Full> {
        let Some(slot) = self.frames.get_mut(self.len) else { return Err(Full(frame)) };
        *slot = frame;
        self.len += 1;
        Ok(())
    }

    /// Number of frames held.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the next [`pop`](Self::pop) gives `None`.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the next [`push`](Self::push) fails.
    #[inline(always)]
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len >= N
    }

    /// The frames held, the next to be popped last.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        self.frames.get(..self.len).unwrap_or(&[])
    }

    /// Pops up to `count` frames into `sink`, in the order of as many
    /// [`pop`](Self::pop)s. Returns how many there were.
    #[inline]
    pub fn pop_many(&mut self, count: usize, sink: impl FnMut(u64)) -> usize {
        let count = count.min(self.len);
        let rest = self.len - count;
        let popped = self.frames.get(rest..self.len).unwrap_or(&[]);
        popped.iter().rev().copied().for_each(sink);
        self.len = rest;
        count
    }

    /// Pushes frames from the front of `frames` until all are in or there is no room.
    /// Returns how many were taken; the others are still the caller's.
    #[inline]
    #[must_use = "the frames that were not taken are lost if the count is dropped"]
    pub fn push_many(&mut self, frames: &[u64]) -> usize {
        let room = self.frames.get_mut(self.len..).unwrap_or(&mut []);
        let count = room.len().min(frames.len());
        for (slot, &frame) in room.iter_mut().zip(frames) {
            *slot = frame;
        }
        self.len += count;
        count
    }

    /// Fills up to half (rounded up) from `buddy`; does nothing if that many are held.
    /// Returns how many frames came: 0 from an empty magazine means that memory is used
    /// up.
    ///
    /// Contiguous frames are put in so that they pop in ascending order: CPUs that join
    /// adjacent leaf entries in the TLB find what they look for in an area that is mapped
    /// from such frames.
    pub fn refill(&mut self, buddy: &mut Buddy<'_>) -> usize {
        self.refill_by(N, buddy)
    }

    /// As [`refill`](Self::refill), but by `most` frames at most, for callers that cannot take their
    /// time.
    pub fn refill_by(&mut self, most: usize, buddy: &mut Buddy<'_>) -> usize {
        let before = self.len;
        let count = buddy.allocate_bulk(N.div_ceil(2).saturating_sub(before).min(most), |frame| {
            // There is room: no more than half is asked for.
            let pushed = self.push(frame);
            debug_assert!(pushed.is_ok(), "more frames came than were asked for");
        });
        self.frames[before..self.len].reverse();
        count
    }

    /// Gives frames to `buddy` until half (rounded down) are left: those pushed longest
    /// ago, the least likely to be cached.
    ///
    /// # Errors
    ///
    /// As [`Buddy::free_bulk`]: the magazine is at half in any case, and a frame that was
    /// refused is in neither.
    pub fn drain(&mut self, buddy: &mut Buddy<'_>) -> Result<(), FreeError> {
        self.drain_to(N / 2, buddy)
    }

    /// Gives frames to `buddy` until at most `keep` are left, as [`drain`](Self::drain);
    /// 0 empties the magazine, for a CPU that goes away or memory that runs short.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    pub fn drain_to(&mut self, keep: usize, buddy: &mut Buddy<'_>) -> Result<(), FreeError> {
        let count = self.len.saturating_sub(keep);
        let result = buddy.free_bulk(self.frames[..count].iter().copied());
        self.frames.copy_within(count..self.len, 0);
        self.len -= count;
        result
    }
}

impl<const N: usize> Default for Magazine<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::{string::ToString, vec, vec::Vec};

    /// An allocator of frames `0..4096`, all free, on leaked storage.
    fn buddy() -> Buddy<'static> {
        let mut buddy = Buddy::new(0..4096, vec![0; Buddy::storage_words(0..4096)].leak());
        buddy.add(0..4096).unwrap();
        buddy
    }

    #[test]
    fn a_refill_by_a_few_is_no_more_than_half_full() {
        let mut buddy = buddy();
        let mut magazine = Magazine::<8>::new();
        assert_eq!(magazine.refill_by(3, &mut buddy), 3);
        assert_eq!(magazine.refill_by(3, &mut buddy), 1);
        assert_eq!((magazine.refill_by(3, &mut buddy), magazine.len()), (0, 4));
    }

    #[test]
    fn pops_what_was_pushed_last_and_stops_at_both_ends() {
        let mut magazine = Magazine::<3>::new();
        assert_eq!(magazine.pop(), None);
        for frame in [7, 8, 9] {
            magazine.push(frame).unwrap();
        }
        assert!(magazine.is_full() && !magazine.is_empty());
        assert_eq!(magazine.push(10), Err(Full(10)));
        assert_eq!(Full(10).to_string(), "no room in the magazine for frame 0xa");
        assert_eq!(magazine.as_slice(), [7, 8, 9]);
        assert_eq!((magazine.pop(), magazine.pop(), magazine.pop()), (Some(9), Some(8), Some(7)));
        assert_eq!(magazine.pop(), None);
        assert!(magazine.is_empty());
    }

    #[test]
    fn many_at_once_equal_one_by_one() {
        let mut magazine = Magazine::<4>::new();
        assert_eq!(magazine.push_many(&[1, 2, 3]), 3);
        assert_eq!(magazine.push_many(&[4, 5, 6]), 1);
        assert_eq!(magazine.push_many(&[5]), 0);
        let mut popped = Vec::new();
        assert_eq!(magazine.pop_many(3, |frame| popped.push(frame)), 3);
        assert_eq!(popped, [4, 3, 2]);
        assert_eq!(magazine.pop_many(3, |frame| popped.push(frame)), 1);
        assert_eq!(magazine.pop_many(3, |_| unreachable!()), 0);
        assert_eq!(popped, [4, 3, 2, 1]);
    }

    #[test]
    fn refill_goes_to_half_and_pops_ascending() {
        let mut buddy = buddy();
        let mut magazine = Magazine::<128>::new();
        assert_eq!(magazine.refill(&mut buddy), 64);
        assert_eq!(magazine.refill(&mut buddy), 0);
        assert_eq!(buddy.free_frames(), 4096 - 64);
        let popped: Vec<u64> = core::iter::from_fn(|| magazine.pop()).collect();
        assert!(popped.iter().copied().eq(0..64));
    }

    #[test]
    fn drain_keeps_the_newest_half() {
        let mut buddy = buddy();
        let mut magazine = Magazine::<8>::new();
        let first = buddy.allocate(3).unwrap();
        for frame in first..first + 8 {
            magazine.push(frame).unwrap();
        }
        magazine.drain(&mut buddy).unwrap();
        assert_eq!(magazine.as_slice(), [first + 4, first + 5, first + 6, first + 7]);
        magazine.drain(&mut buddy).unwrap();
        assert_eq!(magazine.len(), 4);
        magazine.drain_to(0, &mut buddy).unwrap();
        assert!(magazine.is_empty());
        assert_eq!(buddy.free_blocks(crate::MAX_ORDER), 4);
    }

    #[test]
    fn alternation_at_an_edge_does_not_bounce() {
        let mut buddy = buddy();
        let mut magazine = Magazine::<16>::new();
        let (mut refills, mut drains) = (0, 0);
        for _ in 0..100 {
            let frame = magazine.pop().unwrap_or_else(|| {
                refills += 1;
                magazine.refill(&mut buddy);
                magazine.pop().unwrap()
            });
            if magazine.is_full() {
                drains += 1;
                magazine.drain(&mut buddy).unwrap();
            }
            magazine.push(frame).unwrap();
        }
        assert_eq!((refills, drains), (1, 0));
    }

    #[test]
    fn a_magazine_of_one_still_moves() {
        let mut buddy = buddy();
        let mut magazine = Magazine::<1>::new();
        assert_eq!(magazine.refill(&mut buddy), 1);
        assert!(magazine.is_full());
        magazine.drain(&mut buddy).unwrap();
        assert!(magazine.is_empty());
        assert_eq!(buddy.free_frames(), 4096);
    }

    #[test]
    fn refill_takes_what_is_left_when_memory_runs_out() {
        let mut buddy = Buddy::new(0..100, vec![0; Buddy::storage_words(0..100)].leak());
        buddy.add(10..13).unwrap();
        let mut magazine = Magazine::<8>::new();
        assert_eq!(magazine.refill(&mut buddy), 3);
        assert_eq!(magazine.refill(&mut buddy), 0);
        assert_eq!(magazine.len(), 3);
    }
}
