//! What others did, or once did, instead of what the library does: to measure against.

/// What an instance does. The default is what is meant to be used; the rest is for experiments and tests.
/// Only what is seldom done looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How free address space is looked for.
    pub search: SearchPolicy,
    /// Whether a guard page is behind each block that areas share.
    pub guards: GuardPolicy,
    /// What an allocation does that finds no address space.
    pub overflow: OverflowPolicy,
    /// Who goes first when pages are freed faster than they are purged.
    pub purge: PurgePolicy,
    /// How many directories are flushed at once before they are given back.
    pub gather: GatherPolicy,
}

/// How an arena searches. The placements are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchPolicy {
    /// From the cached start, by the trees.
    #[default]
    Cached,
    /// From the start of the range, hole by hole: what was usual.
    FromStart,
}

/// Where guard pages are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardPolicy {
    /// Behind areas that ask for one.
    #[default]
    BehindAreas,
    /// Behind blocks too, as in Linux before 2011. A block starts at a multiple of its size, so its guard
    /// page costs another block.
    BehindBlocks,
}

/// What an allocation does that finds no address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverflowPolicy {
    /// It waits for a purge that began after its own failure, and again for as long as these make room.
    #[default]
    Ticket,
    /// It purges, unless somebody else does, and tries once more, as was proposed in 2016.
    OnePurge,
}

/// Who goes first when pages are freed faster than they are purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PurgePolicy {
    /// Up to twice `lazy_max` others take their turns between two blocks of a purge. Above, who frees
    /// purges too, or lets the one who does go on.
    #[default]
    Threshold,
    /// Others always go first, as in Linux before 2019.
    Yielding,
    /// A purge is not interrupted by anybody, as in Linux before 2016.
    Unbroken,
}

/// How many directories are flushed at once before they are given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatherPolicy {
    /// 512 if a frame for their list is to be had, else as `Stack`.
    #[default]
    Page,
    /// 8.
    Stack,
    /// 1.
    One,
}
