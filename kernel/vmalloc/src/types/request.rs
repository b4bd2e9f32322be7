//! What an area is asked to be.

use crate::{PAGE_SIZE, Protection};

/// What [`Vmalloc::allocate`](crate::Vmalloc::allocate) is asked for: a size, and what is to differ from an ordinary
/// area, each by a method. Sizes and alignments are in bytes.
///
/// ```
/// # use vmalloc::{PAGE_SIZE, Request};
/// let stack = Request::new(4 * PAGE_SIZE).zeroed().guard_below();
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Request {
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) zeroed: bool,
    pub(crate) huge: bool,
    pub(crate) protection: Protection,
    pub(crate) wait: bool,
    pub(crate) place: Place,
}

/// Where an area may lie: anywhere or between two addresses, with a guard page below or without.
// One word tells that nothing was asked for. A `Range` would make the request move.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Anywhere,
    Within(usize, usize),
    AboveGuard,
    AboveGuardWithin(usize, usize),
}

impl Place {
    pub(crate) const fn is_anywhere(self) -> bool {
        matches!(self, Self::Anywhere)
    }

    pub(crate) const fn within(self) -> Option<(usize, usize)> {
        match self {
            Self::Anywhere | Self::AboveGuard => None,
            Self::Within(start, end) | Self::AboveGuardWithin(start, end) => Some((start, end)),
        }
    }

    pub(crate) const fn guard_below(self) -> bool {
        matches!(self, Self::AboveGuard | Self::AboveGuardWithin(..))
    }
}

impl Request {
    /// Makes a request for an ordinary area of `size` bytes: page-aligned, of 4 KiB pages, read and written, with
    /// undefined contents.
    #[inline]
    pub const fn new(size: usize) -> Self {
        let protection = Protection::ReadWrite;
        Self {
            size,
            align: PAGE_SIZE,
            zeroed: false,
            huge: false,
            protection,
            wait: true,
            place: Place::Anywhere,
        }
    }

    /// Aligns the area to `align` bytes, a power of two. Less than a page means a page.
    #[inline]
    pub const fn align(mut self, align: usize) -> Self {
        self.align = align;
        self
    }

    /// Fills the area with zeros. Pages that are known to be zero already are not cleared again.
    #[doc(alias = "__GFP_ZERO")]
    #[inline]
    pub const fn zeroed(mut self) -> Self {
        self.zeroed = true;
        self
    }

    /// Maps the area by 2 MiB pages where a whole one is needed and can be had, and by 4 KiB pages elsewhere.
    #[doc(alias = "VM_ALLOW_HUGE_VMAP")]
    #[inline]
    pub const fn huge(mut self) -> Self {
        self.huge = true;
        self
    }

    /// Maps the area under another protection than [`ReadWrite`](Protection::ReadWrite).
    #[doc(alias = "pgprot_t")]
    #[inline]
    pub const fn protection(mut self, protection: Protection) -> Self {
        self.protection = protection;
        self
    }

    /// Makes the allocation fail at once where it runs out of address space or frames: it neither purges nor calls
    /// purge notifiers. Callers that hold locks or have preemption off need not ask for it so as not to wait for other
    /// threads: they never do.
    #[doc(alias = "GFP_NOWAIT")]
    #[inline]
    pub const fn no_wait(mut self) -> Self {
        self.wait = false;
        self
    }

    /// Puts a guard page below the area as well: for stacks, which grow down. Without it, what lies below may be
    /// mapped, as by [`vm_map_ram`](crate::Vmalloc::vm_map_ram), whose mappings have no guard page. The area keeps the
    /// page when it is resized. It costs a page of address space, or a block if the area with its guard pages is longer
    /// than a block, is aligned to more than a page, or has to lie in a range.
    #[inline]
    pub const fn guard_below(mut self) -> Self {
        self.place = match self.place.within() {
            None => Place::AboveGuard,
            Some((start, end)) => Place::AboveGuardWithin(start, end),
        };
        self
    }

    /// Puts the area, its guard pages included, inside the addresses `start..end`. Only blocks of 2 MiB that lie in
    /// there as a whole are used.
    #[inline]
    pub const fn within(mut self, start: usize, end: usize) -> Self {
        self.place = if self.place.guard_below() {
            Place::AboveGuardWithin(start, end)
        } else {
            Place::Within(start, end)
        };
        self
    }

    /// Returns the size, if nothing else tells where the area may lie.
    #[inline]
    pub(crate) fn plain_size(&self) -> Option<usize> {
        (self.align == PAGE_SIZE && self.place.is_anywhere()).then_some(self.size)
    }
}
