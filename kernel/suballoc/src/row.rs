//! Which granules of one page are used: a bit for each.
//!
//! The length of the longest free run is kept exactly. Taking from a shorter run does not change it, and
//! giving back can make the longest only of the run that the granules then belong to: only who takes from the
//! longest run looks at the others.

use crate::{NONE, PAGE_SIZE, bits::Bits};

/// Bytes that are taken and given together.
pub const GRANULE: usize = 16;
/// Granules of a page.
pub(crate) const GRANULES: usize = PAGE_SIZE / GRANULE;

/// A page, and its place in a bin.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    used: Bits<{ GRANULES / 64 }>,
    longest: u16,
    /// Its bin; 0 is none.
    pub bin: u8,
    /// Neighbours in the bin.
    pub next: u32,
    pub previous: u32,
}

impl Row {
    /// A page of which nothing is used.
    pub const EMPTY: Self =
        Self { used: Bits::NONE, longest: GRANULES as u16, bin: 0, next: NONE, previous: NONE };

    /// Length of the longest free run.
    #[inline]
    pub fn longest(&self) -> usize {
        self.longest.into()
    }

    /// Takes the lowest free run of `count` granules whose first is a multiple of `align`: its first.
    #[inline]
    pub fn take(&mut self, count: usize, align: usize) -> Option<usize> {
        // The longest run that stays, of those below.
        let (mut from, mut longest) = (0, 0);
        loop {
            let start = self.used.next_clear(from);
            if start == GRANULES {
                return None;
            }
            let end = self.used.next_set(start);
            let first = (start + align - 1) & !(align - 1);
            if first + count > end {
                longest = longest.max(end - start);
                from = end;
                continue;
            }
            self.used.set(first, count);
            if end - start == self.longest() {
                longest = longest.max(first - start).max(end - first - count);
                self.longest = self.longest_above(end, longest) as u16;
            }
            return Some(first);
        }
    }

    /// The longest of the free runs above `from` and of one of length `longest`.
    #[inline]
    fn longest_above(&self, mut from: usize, mut longest: usize) -> usize {
        // What is left may be too short to matter.
        while from + longest < GRANULES {
            let start = self.used.next_clear(from);
            from = self.used.next_set(start);
            longest = longest.max(from - start);
        }
        longest
    }

    /// Gives back `count` granules from `first`.
    ///
    /// # Panics
    /// One of them is free.
    #[inline]
    pub fn give(&mut self, first: usize, count: usize) {
        self.used.clear(first, count);
        let (start, end) = (self.used.clear_below(first), self.used.next_set(first + count));
        self.longest = self.longest.max((end - start) as u16);
    }
}

#[cfg(test)]
impl Row {
    /// The longest free run, bit by bit.
    pub fn measure(&self) -> usize {
        let (mut run, mut longest) = (0, 0);
        for granule in 0..GRANULES {
            run = if self.used.has(granule) { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        longest
    }
}
