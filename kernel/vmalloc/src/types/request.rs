//! What an area is asked to be, and the checks of it.

use crate::{PAGE_SIZE, Protection};

/// What [`Vmalloc::allocate`](crate::Vmalloc::allocate) is asked for.
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

/// Where an area may lie: anywhere, or between two addresses; and whether above a guard page.
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
    /// An area of `size` bytes, page-aligned, of 4 KiB pages, read and written, with undefined contents.
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

    /// Aligned to `align` bytes, a power of two; below a page it means a page.
    #[inline]
    pub const fn align(mut self, align: usize) -> Self {
        self.align = align;
        self
    }

    /// Filled with zeros.
    #[inline]
    pub const fn zeroed(mut self) -> Self {
        self.zeroed = true;
        self
    }

    /// Of 2 MiB pages where a whole one is needed and can be had, of 4 KiB pages elsewhere.
    #[inline]
    pub const fn huge(mut self) -> Self {
        self.huge = true;
        self
    }

    /// Under another protection than read and write.
    #[inline]
    pub const fn protection(mut self, protection: Protection) -> Self {
        self.protection = protection;
        self
    }

    /// Without a purge, and without asking anybody to give back, when there is nothing: it fails at once.
    /// Callers that hold locks or have preemption off never wait for others in any case.
    #[inline]
    pub const fn no_wait(mut self) -> Self {
        self.wait = false;
        self
    }

    /// With a guard page below its first page, too: for stacks, which grow down. What lies below another area may
    /// be mapped, by [`vm_map_ram`](crate::Vmalloc::vm_map_ram) for example, whose mappings have no guard page. The area
    /// keeps it when it is resized. It takes a page more of address space; or a block more if with its guard pages
    /// it is longer than a block, is aligned to more than a page, or has to lie in a range.
    #[inline]
    pub const fn guard_below(mut self) -> Self {
        self.place = match self.place.within() {
            None => Place::AboveGuard,
            Some((start, end)) => Place::AboveGuardWithin(start, end),
        };
        self
    }

    /// Inside the addresses `start..end`, guard pages included. Only whole blocks of the range are used.
    #[inline]
    pub const fn within(mut self, start: usize, end: usize) -> Self {
        self.place = if self.place.guard_below() {
            Place::AboveGuardWithin(start, end)
        } else {
            Place::Within(start, end)
        };
        self
    }

    /// The size, if nothing but that tells where the area may lie.
    #[inline]
    pub(crate) fn plain_size(&self) -> Option<usize> {
        (self.align == PAGE_SIZE && self.place.is_anywhere()).then_some(self.size)
    }
}
