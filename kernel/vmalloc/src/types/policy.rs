//! Policies: what other kernels, or Linux before, did in the place of what the library does, to be measured beside it.

/// What an instance does where there is a choice. The default is what is meant to be used; every other value is for
/// experiments and tests. Only slow paths ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How free address space is searched.
    pub search: SearchPolicy,
    /// Whether a guard page lies behind each block that areas share.
    pub guards: GuardPolicy,
    /// What an allocation does that finds no address space.
    pub overflow: OverflowPolicy,
    /// What yields to what when pages are freed faster than they are purged.
    pub purge: PurgePolicy,
    /// How many directories are flushed at once before they are given back.
    pub gather: GatherPolicy,
    /// Whether a freed area may be used again before it was flushed.
    pub reuse: Reuse,
}

/// Whether a freed area may be used again before it was flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// The next allocation of as many pages on the same CPU takes the area with the frames that it had. No flush is needed
    /// for that, because what any CPU remembers of the pages is right again.
    #[default]
    Hot,
    /// Every freed page waits for a flush before it is used again, as in Linux. Who still uses a freed area finds a page
    /// fault sooner, and not the next owner's data.
    AfterFlush,
}

/// How the arena searches free address space. The choice decides how long a search takes, not what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchPolicy {
    /// A search begins at the cached start, below which all is used, and descends trees of free runs.
    #[default]
    Cached,
    /// A search walks from the start of the range, hole by hole, as Linux did before 2010.
    FromStart,
}

/// Whether a guard page also lies behind each shared block. An area's own guard page cannot be left out: its entry is the
/// record of the area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardPolicy {
    /// Guard pages lie behind areas.
    #[default]
    BehindAreas,
    /// Guard pages lie behind shared blocks too, as in Linux before 2011. A block starts at a multiple of its size, so
    /// its guard page costs another block.
    BehindBlocks,
}

/// What an allocation does that finds no address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverflowPolicy {
    /// It waits for a purge that began after its own failure, and again for as long as purges free address space.
    #[default]
    Ticket,
    /// It purges, unless another thread does, and tries once more, as was proposed for Linux in 2016.
    OnePurge,
}

/// What yields to what when pages are freed faster than they are purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PurgePolicy {
    /// A purge yields to other threads between two blocks, up to
    /// [`purge_priority`](crate::Tunables::purge_priority) times [`lazy_max`](crate::Vmalloc::lazy_max). Above that,
    /// who frees purges too, or waits for the purge that is under way.
    #[default]
    Threshold,
    /// A purge always yields, as in Linux before 2019.
    Yielding,
    /// A purge never yields, as in Linux before 2016.
    Unbroken,
}

/// How many directories are flushed at once before they are given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatherPolicy {
    /// Up to 512 are, if there is a frame for their list; else up to 8.
    #[default]
    Page,
    /// Up to 8 are.
    Stack,
    /// Each is flushed by itself.
    One,
}
