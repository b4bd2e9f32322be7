//! What an area is asked to be.

use crate::{PAGE_SIZE, Protection};
use core::fmt;

/// A request to [`Vmalloc::allocate`](crate::Vmalloc::allocate): a size, and a method for each way in which
/// the area may differ from an ordinary one. Sizes and alignments are in bytes.
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
    // One word tells that nothing was asked for.
    pub(crate) place: Option<Place>,
}

/// Where an area is to lie that may not lie anywhere, or has a guard page below.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The addresses that it lies between. A `Range` would make the request move.
    pub within: Option<(usize, usize)>,
    pub guard_below: bool,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((start, end)) = self.within {
            write!(f, "within {start:#x}..{end:#x} ")?;
        }
        write!(f, "guard_below: {}", self.guard_below)
    }
}

impl Request {
    /// Makes a request for an ordinary area of `size` bytes: page-aligned, of 4 KiB pages, readable and
    /// writable, with undefined contents.
    #[inline]
    pub const fn new(size: usize) -> Self {
        let protection = Protection::ReadWrite;
        Self { size, align: PAGE_SIZE, zeroed: false, huge: false, protection, wait: true, place: None }
    }

    /// Aligns the area to `align` bytes, a power of two. Less than a page means a page.
    #[inline]
    pub const fn align(mut self, align: usize) -> Self {
        self.align = align;
        self
    }

    /// Fills the area with zeros. [`Zeroing`](crate::Zeroing) says which pages are not cleared again.
    #[doc(alias = "__GFP_ZERO")]
    #[inline]
    pub const fn zeroed(mut self) -> Self {
        self.zeroed = true;
        self
    }

    /// Maps the area by 2 MiB pages where a whole one is needed and available, and by 4 KiB pages elsewhere.
    #[doc(alias = "VM_ALLOW_HUGE_VMAP")]
    #[inline]
    pub const fn huge(mut self) -> Self {
        self.huge = true;
        self
    }

    /// Gives the area a protection other than [`ReadWrite`](Protection::ReadWrite). If it is
    /// [`None`](Protection::None), the area is of 4 KiB pages, whatever was asked for.
    #[doc(alias = "pgprot_t")]
    #[inline]
    pub const fn protection(mut self, protection: Protection) -> Self {
        if matches!(protection, Protection::None) {
            // So it comes to where that is looked for.
            self.place = Some(self.placed());
        }
        self.protection = protection;
        self
    }

    /// Makes the allocation fail at once if it runs out of address space or frames: it neither purges nor
    /// calls purge notifiers. Callers that hold locks or have preemption off do not need this to keep from
    /// waiting for other threads: they never wait.
    #[doc(alias = "GFP_NOWAIT")]
    #[inline]
    pub const fn no_wait(mut self) -> Self {
        self.wait = false;
        self
    }

    /// Puts a guard page below the area, too: for stacks, which grow down. Without it, what lies below may be
    /// mapped, for example by [`vm_map_ram`](crate::Vmalloc::vm_map_ram), whose mappings have no guard page.
    /// The area keeps the page when it is resized. It costs a page of address space, or a block if the area
    /// with its guard pages is longer than a block, is aligned to more than a page, or has to lie in a range.
    #[inline]
    pub const fn guard_below(mut self) -> Self {
        self.place = Some(Place { guard_below: true, ..self.placed() });
        self
    }

    /// Puts the area, its guard pages included, inside the addresses `start..end`. Only 2 MiB blocks that lie
    /// wholly inside them are used. An area that `vrealloc` makes larger may grow or move out of them.
    #[inline]
    pub const fn within(mut self, start: usize, end: usize) -> Self {
        self.place = Some(Place { within: Some((start, end)), ..self.placed() });
        self
    }

    const fn placed(&self) -> Place {
        match self.place {
            Some(place) => place,
            None => Place { within: None, guard_below: false },
        }
    }

    /// Returns the size, if nothing else tells where the area may lie.
    #[inline]
    pub(crate) fn plain_size(&self) -> Option<usize> {
        (self.align == PAGE_SIZE && self.place.is_none()).then_some(self.size)
    }
}
