//! Policies: what other kernels, or Linux before, did in the place of what the library does, to be measured beside it.

/// What an instance does where there is a choice. The default is right for every kernel. [`zeroing`](Self::zeroing) makes
/// a kernel faster that keeps a promise more; every other value than the default is for experiments and tests. Only slow
/// paths ask for it.
///
/// ```
/// # use vmalloc::{Policy, Zeroing};
/// let policy = Policy::default().zeroing(Zeroing::TrustDirty);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
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
    /// Whether a page that no CPU has written is taken to be full of zeros still.
    pub zeroing: Zeroing,
    /// Whether an instance begins with a look at what lies behind the bytes that were asked for.
    pub slack: Slack,
}

/// Defines methods that take a policy and say one thing of it otherwise.
macro_rules! setters {
    ($($(#[$text:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$text])*
        pub const fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        }
    )*};
}

impl Policy {
    setters! {
        /// Says how free address space is searched.
        search: SearchPolicy,
        /// Says whether a guard page lies behind each block that areas share.
        guards: GuardPolicy,
        /// Says what an allocation does that finds no address space.
        overflow: OverflowPolicy,
        /// Says what yields to what when pages are freed faster than they are purged.
        purge: PurgePolicy,
        /// Says how many directories are flushed at once before they are given back.
        gather: GatherPolicy,
        /// Says whether a freed area may be used again before it was flushed.
        reuse: Reuse,
        /// Says whether a page that no CPU has written is taken to be full of zeros still.
        zeroing: Zeroing,
        /// Says whether an instance begins with a look at what lies behind the bytes that were asked for.
        slack: Slack,
    }
}

/// Whether an instance begins with a look at what lies behind the bytes that were asked for; it may be
/// [changed](crate::Vmalloc::set_check_slack). The default follows the build: what is written there is found where debug
/// assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slack {
    /// It is left alone.
    Ignored,
    /// It is filled when an area is allocated, and looked at when it is freed. Each call takes a slow path, and no area is
    /// used again before it was flushed.
    Checked,
}

impl Default for Slack {
    fn default() -> Self {
        if cfg!(debug_assertions) { Self::Checked } else { Self::Ignored }
    }
}

/// Whether [`vzalloc`](crate::Vmalloc::vzalloc), and requests for [zeros](crate::Request::zeroed), clear a page that was
/// full of zeros when it was mapped last, and that no CPU has written since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Zeroing {
    /// Each page is cleared each time. It is right whoever writes to the frames.
    #[default]
    Always,
    /// A page is not cleared if its frame was full of zeros when it was mapped, and its entry has no dirty bit. It saves a
    /// page's worth of stores for each page that its owner before did not write.
    ///
    /// The condition is that nobody writes to the frame of an area but through the area's own addresses, or through the
    /// direct map after a call of [`frame_at`](crate::Vmalloc::frame_at), which sets the dirty bit. The write of a device
    /// (DMA) sets no dirty bit in a page table, and neither does a write through another mapping of the frame, which
    /// somebody found by a page walk of their own. The next owner would find there, in the place of zeros, what was written
    /// so.
    TrustDirty,
}

/// Whether a freed area may be used again before it was flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reuse {
    /// The next allocation of as many pages on the same CPU takes the area with the frames that it had, unless it was
    /// executable. No flush is needed for that, because what any CPU remembers of the pages is right again. In the same way a frame that was mapped alone by
    /// [`vm_map_ram`](crate::Vmalloc::vm_map_ram) gets the page that it had, if the same CPU maps it again next.
    #[default]
    Hot,
    /// Every freed page waits for a flush before it is used again, as in Linux. Who still uses a freed area finds a page
    /// fault sooner, and not the next owner's data.
    AfterFlush,
}

/// How the arena searches free address space. The choice decides how long a search takes, not what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
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
#[non_exhaustive]
pub enum OverflowPolicy {
    /// It waits for a purge that began after its own failure, and again for as long as purges free address space.
    #[default]
    Ticket,
    /// It purges, unless another thread does, and tries once more, as was proposed for Linux in 2016.
    OnePurge,
}

/// What yields to what when pages are freed faster than they are purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub enum GatherPolicy {
    /// Up to 512 are, if there is a frame for their list; else up to 8.
    #[default]
    Page,
    /// Up to 8 are.
    Stack,
    /// Each is flushed by itself.
    One,
}
