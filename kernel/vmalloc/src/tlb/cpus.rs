//! Sets of CPUs, and the lists by which people name them.

use core::{fmt, iter};
use thiserror::Error;

/// The most CPUs that a machine can have: their numbers are below it.
// Loom keeps a history of each atomic of each CPU: as few as the models need.
#[doc(alias = "NR_CPUS")]
pub const MAX_CPUS: usize = if cfg!(loom) { 3 } else { 64 };

/// A set of CPUs, by their numbers below [`MAX_CPUS`].
#[doc(alias = "cpumask")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(u64);

const _: () = assert!(MAX_CPUS <= u64::BITS as usize);

impl CpuSet {
    /// The set of no CPU.
    pub const EMPTY: Self = Self(0);

    /// Makes the set of each CPU n whose bit n is set.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the set as bits: bit n is set for CPU n.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns whether the CPU is in the set, which one of [`MAX_CPUS`] or above never is.
    #[must_use]
    pub const fn contains(self, cpu: usize) -> bool {
        cpu < MAX_CPUS && self.0 >> cpu & 1 != 0
    }

    /// Returns the set with `cpu` added to it if `condition` holds, else the set. `cpu` is below [`MAX_CPUS`].
    #[must_use]
    pub const fn with_if(self, cpu: usize, condition: bool) -> Self {
        if condition { Self(self.0 | 1 << cpu) } else { self }
    }

    /// Returns whether no CPU is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns how many CPUs are in the set.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns the CPUs of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the numbers of the CPUs, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let rests = iter::successors(Some(self.0), |rest| Some(rest & rest.wrapping_sub(1)));
        rests.take_while(|&rest| rest != 0).map(|rest| rest.trailing_zeros() as usize)
    }

    /// Reads a list of numbers and of ranges with both ends, such as `2-5,7`.
    ///
    /// # Errors
    /// Returns a [`ListError`] with the first part of the list that is no number or range below [`MAX_CPUS`].
    #[doc(alias = "cpulist_parse")]
    pub fn parse(list: &str) -> Result<Self, ListError<'_>> {
        let mut set = Self::EMPTY;
        for part in list.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
                return Err(ListError::NotANumber { part });
            };
            if first > last {
                return Err(ListError::Backwards { part });
            }
            if last >= MAX_CPUS {
                return Err(ListError::TooLarge { part });
            }
            set.0 |= u64::MAX << first & u64::MAX >> (u64::BITS as usize - 1 - last);
        }
        Ok(set)
    }
}

/// Writes the set as a list that [`parse`](CpuSet::parse) reads, such as `2-5,7`, and nothing for an empty set.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let mut next = 0;
        while let Some(first) = (next..MAX_CPUS).find(|&cpu| self.contains(cpu)) {
            next = (first..MAX_CPUS).find(|&cpu| !self.contains(cpu)).unwrap_or(MAX_CPUS);
            match next - 1 {
                last if last == first => write!(f, "{comma}{first}")?,
                last => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

/// Why a list names no set of CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ListError<'a> {
    /// A part of the list is neither a number nor a range.
    #[error("{part:?} is neither a CPU's number nor a range")]
    NotANumber {
        /// What stands between two commas.
        part: &'a str,
    },
    /// A range ends before it starts.
    #[error("the range {part} ends before it starts")]
    Backwards {
        /// The range.
        part: &'a str,
    },
    /// A number is not below [`MAX_CPUS`].
    #[error("{part}: CPUs are numbered up to {}", MAX_CPUS - 1)]
    TooLarge {
        /// The number or range.
        part: &'a str,
    },
}
