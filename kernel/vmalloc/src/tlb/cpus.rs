//! Sets of CPUs, and the lists by which people name them.

use crate::atomic::{AtomicU64, Ordering};
use core::{array, fmt, iter};
use thiserror::Error;

/// The maximum number of CPUs of a machine: their numbers are below it.
// Loom keeps a history of each atomic of each CPU: as few as the models need.
#[doc(alias = "NR_CPUS")]
pub const MAX_CPUS: usize = if cfg!(loom) { 3 } else { 512 };

const WORD: usize = u64::BITS as usize;
const WORDS: usize = MAX_CPUS.div_ceil(WORD);

/// A set of CPUs, by their numbers below [`MAX_CPUS`].
#[doc(alias = "cpumask")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet([u64; WORDS]);

impl CpuSet {
    /// The set of no CPU.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Makes the set that contains each CPU n below 64 whose bit n is set.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        let mut set = Self::EMPTY;
        set.0[0] = bits;
        set
    }

    /// Returns the set's CPUs below 64 as bits: bit n is set for CPU n.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0[0]
    }

    /// Returns whether the CPU is in the set; one numbered [`MAX_CPUS`] or above never is.
    #[must_use]
    pub const fn contains(self, cpu: usize) -> bool {
        cpu < MAX_CPUS && self.0[cpu / WORD] >> (cpu % WORD) & 1 != 0
    }

    /// Returns the set with `cpu`, which is below [`MAX_CPUS`], added if `condition` holds, else unchanged.
    #[must_use]
    pub const fn with_if(mut self, cpu: usize, condition: bool) -> Self {
        self.0[cpu / WORD] |= (condition as u64) << (cpu % WORD);
        self
    }

    /// Returns whether no CPU is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// Returns how many CPUs are in the set.
    #[must_use]
    pub fn count(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns the CPUs of this set that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(array::from_fn(|index| self.0[index] & !other.0[index]))
    }

    /// Returns the numbers of the CPUs, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        let (mut rest, mut word) = (self.0, 0);
        iter::from_fn(move || {
            while word < WORDS && rest[word] == 0 {
                word += 1;
            }
            let bits = rest.get_mut(word)?;
            let bit = bits.trailing_zeros() as usize;
            *bits &= *bits - 1;
            Some(word * WORD + bit)
        })
    }

    /// Parses a list of numbers and inclusive ranges, such as `2-5,7`, for a machine whose CPU numbers are
    /// below `limit`, at most [`MAX_CPUS`].
    ///
    /// # Errors
    /// Returns a [`ListError`] with the first part of the list that is not a number or range below `limit`.
    #[doc(alias = "cpulist_parse")]
    pub fn parse(list: &str, limit: usize) -> Result<Self, ListError<'_>> {
        let mut set = Self::EMPTY;
        for part in list.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
                return Err(ListError::NotANumber { part });
            };
            if first > last {
                return Err(ListError::Backwards { part });
            }
            let limit = limit.min(MAX_CPUS);
            if last >= limit {
                return Err(ListError::TooLarge { part, limit });
            }
            set = (first..=last).fold(set, |set, cpu| set.with_if(cpu, true));
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

/// Why a list does not name a set of CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
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
    /// A number is not below the limit.
    #[error("{part}: the CPUs' numbers are below {limit}")]
    TooLarge {
        /// The number or range.
        part: &'a str,
        /// How many CPUs there can be.
        limit: usize,
    },
}

/// A set of CPUs that several change at once.
pub(crate) struct AtomicCpuSet([AtomicU64; WORDS]);

impl AtomicCpuSet {
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    #[cfg(loom)]
    pub fn new() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Returns the set at one moment of each 64 CPUs.
    pub fn load(&self) -> CpuSet {
        CpuSet(array::from_fn(|index| self.0[index].load(Ordering::SeqCst)))
    }

    /// Adds a CPU, or removes it. Returns whether it was in the set.
    pub fn set(&self, cpu: usize, is_in: bool) -> bool {
        let (word, bit) = (&self.0[cpu / WORD], 1 << (cpu % WORD));
        let before = match is_in {
            true => word.fetch_or(bit, Ordering::SeqCst),
            false => word.fetch_and(!bit, Ordering::SeqCst),
        };
        before & bit != 0
    }
}
