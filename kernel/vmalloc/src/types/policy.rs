//! Policies: what other kernels, or Linux before, did in the place of what the library does, to be measured beside it.

/// What an instance does where there is a choice. The default is right for every kernel.
/// [`zeroing`](Self::zeroing) can speed up a kernel that keeps one more promise; all other values but the
/// defaults are for experiments and tests. Only slow paths consult the policy.
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
    /// What an allocation that finds no address space does.
    pub overflow: OverflowPolicy,
    /// What yields to what when pages are freed faster than they are purged.
    pub purge: PurgePolicy,
    /// How many directories are flushed at once before they are given back.
    pub gather: GatherPolicy,
    /// Whether a freed area may be used again before it is flushed.
    pub reuse: Reuse,
    /// Whether a page that no CPU has written is assumed to be still full of zeros.
    pub zeroing: Zeroing,
    /// Whether an instance begins with [slack checks](crate::Vmalloc::set_check_slack) on.
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
        /// Sets how free address space is searched.
        search: SearchPolicy,
        /// Sets whether a guard page lies behind each block that areas share.
        guards: GuardPolicy,
        /// Sets what an allocation that finds no address space does.
        overflow: OverflowPolicy,
        /// Sets what yields to what when pages are freed faster than they are purged.
        purge: PurgePolicy,
        /// Sets how many directories are flushed at once before they are given back.
        gather: GatherPolicy,
        /// Sets whether a freed area may be used again before it is flushed.
        reuse: Reuse,
        /// Sets whether a page that no CPU has written is assumed to be still full of zeros.
        zeroing: Zeroing,
        /// Sets whether an instance begins with [slack checks](crate::Vmalloc::set_check_slack) on.
        slack: Slack,
    }
}

/// Whether an instance begins with checks of slack, the bytes past those requested in an area's last page; it
/// may be [changed](crate::Vmalloc::set_check_slack). The default follows the build: with debug assertions,
/// writes to slack are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slack {
    /// Slack is left alone.
    Ignored,
    /// Slack is filled when an area is allocated, and checked when it is freed. Each call takes a slow path,
    /// and no area is used again before it is flushed.
    Checked,
}

impl Default for Slack {
    fn default() -> Self {
        if cfg!(debug_assertions) { Self::Checked } else { Self::Ignored }
    }
}

/// Whether [`vzalloc`](crate::Vmalloc::vzalloc), and requests for [zeros](crate::Request::zeroed), clear a
/// page that was full of zeros when it was last mapped, and that no CPU has written since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Zeroing {
    /// Each page is cleared each time. This is right no matter who writes to the frames.
    #[default]
    Always,
    /// A page is not cleared if its frame was full of zeros when it was mapped, and its entry has no dirty
    /// bit. This saves a page's worth of stores for each page that its previous owner did not write.
    ///
    /// The condition is that nobody writes to the frame of an area except through the area's own addresses,
    /// or through the direct map after a call of [`frame_at`](crate::Vmalloc::frame_at), which sets the dirty
    /// bit. A write by a device (DMA) sets no dirty bit in a page table, and a write through another mapping
    /// of the frame, found by a page walk of somebody's own, does not set the area's. The next owner would
    /// then find what was written there instead of zeros.
    TrustDirty,
}

/// Whether a freed area may be used again before it is flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reuse {
    /// The next allocation of as many pages on the same CPU takes the area with the frames that it had, unless it was
    /// executable. No flush is needed: the translations that CPUs still have are right again. Likewise a frame that
    /// [`vm_map_ram`](crate::Vmalloc::vm_map_ram) mapped alone gets its page again, if the same CPU maps it next.
    #[default]
    Hot,
    /// Every freed page waits for a flush before it is used again, as in Linux. A use of a freed area then
    /// hits a page fault sooner, and not the next owner's data.
    AfterFlush,
}

/// How the arena searches free address space. The choice decides how long a search takes, not what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchPolicy {
    /// A search begins at the cached start, below which all is in use, and descends trees of free runs.
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

/// What an allocation that finds no address space does.
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
    /// A purge yields to other threads between two blocks, as long as no more than
    /// [`purge_priority`](crate::Tunables::purge_priority) times [`lazy_max`](crate::Vmalloc::lazy_max) pages
    /// wait. Above that, callers that free purge too, or wait for the purge that is under way.
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
