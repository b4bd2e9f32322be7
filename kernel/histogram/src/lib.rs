//! A histogram of fixed size over all numbers of 64 bits.
//!
//! Buckets are log-linear: each power of two is cut into [`PARTS`] buckets of one width, so what a bucket
//! says is above the number that was recorded by less than a [`PARTS`]th of it. Numbers below twice
//! [`PARTS`] are exact, and so are the least and the greatest.
#![no_std]

#[cfg(test)]
mod tests;

/// log2 of [`PARTS`].
const PART_BITS: u32 = 4;
/// Buckets of each power of two.
pub const PARTS: u64 = 1 << PART_BITS;
/// Buckets: one for each number below [`PARTS`], then as many for each power of two above.
const BUCKETS: usize = (PARTS as usize) * (u64::BITS - PART_BITS + 1) as usize;

/// How often which numbers were recorded.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
    least: u64,
    greatest: u64,
}

impl Histogram {
    /// Nothing recorded.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [0; BUCKETS], count: 0, least: u64::MAX, greatest: 0 }
    }

    /// Records one number.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
    }

    /// Records all that the other recorded.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// How many numbers were recorded.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least number recorded, if any was.
    #[must_use]
    pub fn least(&self) -> Option<u64> {
        (self.count > 0).then_some(self.least)
    }

    /// The greatest number recorded, if any was.
    #[must_use]
    pub fn greatest(&self) -> Option<u64> {
        (self.count > 0).then_some(self.greatest)
    }

    /// The number that `thousandths` of all those recorded do not exceed, rounded up to their count, or
    /// less than a [`PARTS`]th more; 500 asks for the median. `None` if nothing was recorded.
    ///
    /// # Panics
    /// There are more than 1000 thousandths.
    #[must_use]
    pub fn quantile(&self, thousandths: u64) -> Option<u64> {
        assert!(thousandths <= 1000, "{thousandths} thousandths are more than all");
        // The first of all is asked for by 0.
        let rank = (u128::from(self.count) * u128::from(thousandths)).div_ceil(1000).max(1);
        let mut below = 0;
        let index = self.counts.iter().position(|&count| {
            below += u128::from(count);
            below >= rank
        })?;
        Some(last(index).clamp(self.least, self.greatest))
    }

    /// How many recorded numbers are about in `from..to`: those of the buckets that begin there.
    #[must_use]
    pub fn count_in(&self, from: u64, to: u64) -> u64 {
        let begins = |&(index, _): &(usize, &u64)| (from..to).contains(&first(index));
        self.counts.iter().enumerate().filter(begins).map(|(_, count)| count).sum()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The bucket of a number.
const fn bucket(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let above = value.ilog2() - PART_BITS;
    // The bits behind the highest say which part.
    let part = (value >> above) - PARTS;
    (PARTS as usize) * (above as usize + 1) + part as usize
}

/// The least number in a bucket.
const fn first(index: usize) -> u64 {
    let (row, part) = (index as u64 / PARTS, index as u64 % PARTS);
    match row {
        0 => part,
        _ => (PARTS + part) << (row - 1),
    }
}

/// The greatest number in a bucket.
const fn last(index: usize) -> u64 {
    match index + 1 {
        BUCKETS => u64::MAX,
        next => first(next) - 1,
    }
}
