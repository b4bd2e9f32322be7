//! When an area was made, in 15 bits, which the entry of its guard page has room for.

use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// A time on the clock that [`set_clock`](crate::Vmalloc::set_clock) sets: exact below 2048 ms, from there on
/// to one part in 1024, up to some 69 years. Earlier times compare as less.
// A floating-point number: 5 bits of exponent above 10 bits of fraction. Its bits lie where a guard page's entry has them, so
// that an allocation takes them as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Birth(u64);

const FRACTION_BITS: u32 = 10;
const FRACTIONS: u64 = 1 << FRACTION_BITS;
const LARGEST: u64 = 0x7fff;

impl Birth {
    /// The lowest of its bits in an entry.
    const SHIFT: u32 = 47;

    /// Makes that of a time; of one that is too late, the latest.
    pub(crate) fn of(milliseconds: u64) -> Self {
        let exponent = (milliseconds / FRACTIONS).checked_ilog2().map_or(0, |log| u64::from(log) + 1);
        let fraction = milliseconds >> exponent.saturating_sub(1) & (FRACTIONS - 1);
        Self((exponent << FRACTION_BITS | fraction).min(LARGEST) << Self::SHIFT)
    }

    /// Returns the time in milliseconds, rounded down.
    #[must_use]
    pub fn milliseconds(self) -> u64 {
        let number = self.0 >> Self::SHIFT;
        let (exponent, fraction) = (number >> FRACTION_BITS, number % FRACTIONS);
        if exponent == 0 { fraction } else { (FRACTIONS | fraction) << (exponent - 1) }
    }

    /// Returns the one that an entry has.
    #[inline(always)]
    pub(crate) fn in_entry(entry: u64) -> Self {
        Self(entry & LARGEST << Self::SHIFT)
    }

    /// Returns its bits in an entry.
    #[inline(always)]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

/// The clock of an instance.
pub(crate) struct Clock(AtomicU64);

impl Clock {
    /// Makes one that nobody has set.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Returns the birth of areas that are made now.
    #[inline(always)]
    pub fn now(&self) -> Birth {
        // `set` stored the bits of one.
        Birth(self.0.load(Ordering::Relaxed))
    }

    /// Has areas that are made from now on be as old as that.
    pub fn set(&self, milliseconds: u64) {
        self.0.store(Birth::of(milliseconds).bits(), Ordering::Relaxed);
    }
}

/// Writes the time, such as `1500 ms`.
impl fmt::Debug for Birth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.milliseconds())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_time_is_kept_to_a_part_in_1024_and_in_order() {
        let times =
            (0..5000).chain((5..63).flat_map(|log| {
                [(1 << log) - 1, 1 << log, (1 << log) + (1 << (log - 3)) + 5, 3 << (log - 1)]
            }));
        let mut times: Vec<u64> = times.filter(|&time| time < 2048 << 30).collect();
        times.sort_unstable();
        let mut before = 0;
        for time in times {
            let kept = Birth::of(time).milliseconds();
            assert!(kept <= time && time - kept <= time / FRACTIONS, "{time} became {kept}");
            assert!(
                kept >= before && Birth::in_entry(!0 >> 2 & Birth::of(time).bits() | 5) == Birth::of(time)
            );
            before = kept;
        }
        assert_eq!(Birth::of(u64::MAX).milliseconds(), 2047 << 30);
    }
}
