//! Sets of CPUs, and the lists by which people name them.

use core::fmt;

/// The most CPUs a machine can have: their numbers are below it.
// Loom keeps a history of each atomic of each CPU: as few as the models need.
pub const MAX_CPUS: usize = if cfg!(loom) { 3 } else { 64 };

/// A set of CPU numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(u64);

const _: () = assert!(MAX_CPUS <= u64::BITS as usize);

impl CpuSet {
    /// No CPU.
    pub const EMPTY: Self = Self(0);

    /// The set with bit n for CPU n.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Bit n for CPU n.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the CPU is in the set.
    #[must_use]
    pub const fn contains(self, cpu: usize) -> bool {
        cpu < MAX_CPUS && self.0 >> cpu & 1 != 0
    }

    /// The set, with `cpu` added if `condition` holds.
    #[must_use]
    pub const fn with_if(self, cpu: usize, condition: bool) -> Self {
        if condition { Self(self.0 | 1 << cpu) } else { self }
    }

    /// Whether there is no CPU in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many CPUs there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The CPUs of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The numbers, lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let lowest = (rest != 0).then_some(rest.trailing_zeros() as usize);
            rest &= rest.wrapping_sub(1);
            lowest
        })
    }

    /// Reads a list of numbers and ranges, such as `2-5,7`.
    ///
    /// # Errors
    /// See [`ListError`]; they name the part that is wrong.
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

/// As a list: `2-5,7`; nothing for no CPU.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListError<'a> {
    /// Neither a number nor a range.
    NotANumber {
        /// What stands between two commas.
        part: &'a str,
    },
    /// A range whose end is before its start.
    Backwards {
        /// The range.
        part: &'a str,
    },
    /// There cannot be a CPU of this number.
    TooLarge {
        /// The number or range.
        part: &'a str,
    },
}

impl fmt::Display for ListError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber { part } => write!(f, "{part:?} is neither a CPU's number nor a range"),
            Self::Backwards { part } => write!(f, "the range {part} ends before it starts"),
            Self::TooLarge { part } => write!(f, "{part}: CPUs are numbered up to {}", MAX_CPUS - 1),
        }
    }
}

impl core::error::Error for ListError<'_> {}
