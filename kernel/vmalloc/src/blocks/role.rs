//! Roles: what blocks are used for.

/// What a block is used for. It is stored in one word, so that it is read without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The block is free; the arena has it.
    Unused,
    /// Small areas share the block, which the pool of this number hands out.
    Small { pool: u16 },
    /// It is the first block of an area of this many blocks, `huge` of them mapped by 2 MiB pages.
    Head { blocks: u32, huge: u32 },
    /// It is a later block of an area, this many blocks behind the head.
    Tail { behind: u32 },
    /// It lies below the head of an area with a guard page below: nothing is mapped in it.
    GuardBelow,
    /// It is a block of a congruent area of this many pages, this many blocks behind the first. The pages of it that
    /// are mapped are those that its [`Pages`](super::Pages) have as live.
    Congruent { pages: usize, behind: usize },
    /// It is a block of a congruent area that was freed: its pages wait for a flush, after which it is closed.
    Leaving,
    /// It is a block of a run that was freed and is cached for the next one. Each block of the run has this role; `pages`
    /// counts from this block to the run's end, so only the first has all. Once the run is `flushed` it is in the cache of this CPU.
    Cached { pages: usize, cpu: usize, flushed: bool },
    /// It is the first of this many blocks that are unmapped and wait for a flush. Frames are in the first
    /// entries of each, or scattered over it.
    Freed { blocks: u32, scattered: bool },
}

/// Stands for a [`Role::GuardBelow`] where a tail's distance from its head is stored.
const IN_FRONT: u32 = u32::MAX;

/// Shift of the number of pages in a congruent area's role, above the tag and the distance from the first block.
const PAGES_SHIFT: u32 = 3 + 24;
const _: () = assert!(crate::arena::MAX_BLOCKS <= 1 << 24);

impl Role {
    /// Returns whether the block's [`Pages`](super::Pages) tell what each of its pages is.
    pub fn has_pages(self) -> bool {
        matches!(self, Self::Small { .. } | Self::Congruent { .. } | Self::Leaving)
    }

    pub(super) fn to_word(self) -> u64 {
        let (tag, value, huge) = match self {
            Self::Unused => (0, 0, 0),
            Self::Small { pool } => (1, u32::from(pool), 0),
            Self::Head { blocks, huge } => (2, blocks, huge),
            Self::Tail { behind } => (3, behind, 0),
            Self::GuardBelow => (3, IN_FRONT, 0),
            Self::Freed { blocks, scattered } => (4, blocks, scattered.into()),
            Self::Congruent { pages, behind } => {
                return 5 | (behind << 3) as u64 | (pages as u64) << PAGES_SHIFT;
            }
            Self::Leaving => (6, 0, 0),
            Self::Cached { pages, cpu, flushed } => (7, pages as u32, (cpu as u32) << 1 | u32::from(flushed)),
        };
        tag | u64::from(huge) << 3 | u64::from(value) << 32
    }

    pub(super) fn from_word(word: u64) -> Self {
        let value = (word >> 32) as u32;
        match word & 7 {
            0 => Self::Unused,
            1 => Self::Small { pool: value as u16 },
            2 => Self::Head { blocks: value, huge: (word as u32) >> 3 },
            3 if value == IN_FRONT => Self::GuardBelow,
            3 => Self::Tail { behind: value },
            4 => Self::Freed { blocks: value, scattered: (word as u32) >> 3 != 0 },
            5 => Self::Congruent {
                pages: (word >> PAGES_SHIFT) as usize,
                behind: (word as usize & ((1 << PAGES_SHIFT) - 1)) >> 3,
            },
            6 => Self::Leaving,
            _ => {
                let place = (word as u32) >> 3;
                Self::Cached { pages: value as usize, cpu: place as usize >> 1, flushed: place & 1 != 0 }
            }
        }
    }
}
