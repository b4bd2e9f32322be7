//! What an area is asked to be, and the checks of it.

use crate::{
    AllocError, Vmalloc,
    areas::run::blocks_for,
    page_table::entry::{Attributes, Cache, Kind, Protection},
    platform::{BLOCK_PAGES, BLOCK_SIZE, Frame, PAGE_SHIFT, PAGE_SIZE, Platform},
};
use core::ops::Range;

/// What [`Vmalloc::allocate`] is asked for.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Request {
    size: usize,
    align: usize,
    zeroed: bool,
    huge: bool,
    protection: Protection,
    wait: bool,
    place: Place,
}

/// Where an area may lie: anywhere, or between two addresses; and whether above a guard page.
// One word tells that nothing was asked for. A `Range` would make the request move.
#[derive(Clone, Copy, Debug)]
enum Place {
    Anywhere,
    Within(usize, usize),
    AboveGuard,
    AboveGuardWithin(usize, usize),
}

impl Place {
    const fn within(self) -> Option<(usize, usize)> {
        match self {
            Self::Anywhere | Self::AboveGuard => None,
            Self::Within(start, end) | Self::AboveGuardWithin(start, end) => Some((start, end)),
        }
    }

    const fn guard_below(self) -> bool {
        matches!(self, Self::AboveGuard | Self::AboveGuardWithin(..))
    }
}

impl Request {
    /// Bytes asked for.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

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
    /// be mapped, by [`vm_map_ram`](Vmalloc::vm_map_ram) for example, whose mappings have no guard page. The area
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
        (self.align == PAGE_SIZE && matches!(self.place, Place::Anywhere)).then_some(self.size)
    }

    #[inline]
    pub(crate) fn attributes(&self) -> Attributes {
        let attributes = Attributes::new(self.protection, Cache::WriteBack, true);
        if self.zeroed { attributes.zeroed() } else { attributes }
    }
}

/// Where the frames of an area come from.
#[derive(Clone, Copy)]
pub(crate) enum Backing<'a> {
    /// From the machine; they go back to it with the area.
    Owned { huge: bool },
    /// The caller's, in this order.
    Frames(&'a [Frame]),
    /// The machine's, contiguous from this one.
    Physical(Frame),
}

/// A request in pages, checked.
pub(crate) struct Shape<'a> {
    pub pages: usize,
    /// In pages.
    pub align: usize,
    /// Bytes of the first and the last page that were not asked for.
    pub slack: usize,
    pub attributes: Attributes,
    pub backing: Backing<'a>,
    pub kind: Kind,
    /// Whether it may purge before it fails.
    pub wait: bool,
    /// Whether it has a guard page below.
    pub guard_below: bool,
    /// Numbers of the blocks that may be used; `None`: all.
    pub within: Option<Range<usize>>,
}

impl Shape<'_> {
    /// Whether the area can share a block with others.
    #[inline]
    pub fn fits_block(&self) -> bool {
        // The guard page below takes the place that alignment needs.
        let most = if self.guard_below { 1 } else { BLOCK_PAGES / 2 };
        self.pages + self.pages_below() < BLOCK_PAGES && self.align <= most && self.within.is_none()
    }

    /// Guard pages below it in a block that it shares.
    #[inline]
    pub fn pages_below(&self) -> usize {
        self.guard_below.into()
    }

    /// Whether it is to. Where two do not fit, sharing gains nothing, and a whole block is kept for the next
    /// area if the frames are its own; but a block of its own needs another one for a guard page below.
    #[inline]
    pub fn is_small(&self) -> bool {
        let owned = matches!(self.backing, Backing::Owned { .. });
        self.fits_block() && (self.guard_below || self.pages < BLOCK_PAGES / 2 || !owned)
    }
}

impl<P: Platform> Vmalloc<P> {
    /// Pages for `size` bytes, and the bytes of the last one that are not needed.
    #[inline]
    pub(crate) fn pages_for(&self, size: usize) -> Result<(usize, usize), AllocError> {
        if size == 0 {
            return Err(AllocError::ZeroSize);
        }
        // The range is at most 32 TiB, so what passes here cannot overflow when rounded up.
        if size > self.range.len() - PAGE_SIZE {
            return Err(AllocError::TooLarge { size });
        }
        let pages = size.div_ceil(PAGE_SIZE);
        Ok((pages, pages * PAGE_SIZE - size))
    }

    /// The same for an area that owns its frames.
    #[inline]
    pub(crate) fn owned_pages_for(&self, size: usize) -> Result<(usize, usize), AllocError> {
        let (pages, slack) = self.pages_for(size)?;
        if pages > self.platform.total_frames() {
            return Err(AllocError::OutOfFrames);
        }
        Ok((pages, slack))
    }

    #[inline]
    pub(crate) fn check(&self, request: Request) -> Result<Shape<'static>, AllocError> {
        let attributes = request.attributes();
        let Request { size, align, huge, wait, place, .. } = request;
        let (pages, slack) = self.owned_pages_for(size)?;
        if !align.is_power_of_two() {
            return Err(AllocError::BadAlignment { align });
        }
        let (guard_below, within) = match place {
            Place::Anywhere => (false, None),
            _ => self.check_place(request, pages)?,
        };
        Ok(Shape {
            pages,
            align: (align >> PAGE_SHIFT).max(1),
            slack,
            attributes,
            backing: Backing::Owned { huge: huge && pages >= BLOCK_PAGES },
            kind: Kind::Vmalloc,
            wait,
            guard_below,
            within,
        })
    }

    /// Whether an area that may not lie anywhere has a guard page below, and which blocks it may lie in. What the
    /// range has no room for with a block below it is refused.
    #[cold]
    fn check_place(
        &self,
        request: Request,
        pages: usize,
    ) -> Result<(bool, Option<Range<usize>>), AllocError> {
        let Request { size, align, place, .. } = request;
        let shares_block = pages < BLOCK_PAGES - 1 && align <= PAGE_SIZE;
        if place.guard_below() && !shares_block && blocks_for(pages) >= self.blocks() {
            return Err(AllocError::TooLarge { size });
        }
        let within = place.within().map(|(start, end)| self.blocks_inside(start, end)).transpose()?;
        if let (Some((start, end)), Some(blocks)) = (place.within(), &within)
            && place.guard_below()
            && blocks.len() <= blocks_for(pages)
        {
            return Err(AllocError::BadRange { start, end });
        }
        Ok((place.guard_below(), within))
    }

    /// Numbers of the blocks that lie in `start..end` whole.
    fn blocks_inside(&self, start: usize, end: usize) -> Result<Range<usize>, AllocError> {
        let offset = |address: usize| address.clamp(self.range.start, self.range.end) - self.range.start;
        let blocks = offset(start).div_ceil(BLOCK_SIZE)..offset(end) / BLOCK_SIZE;
        if blocks.is_empty() { Err(AllocError::BadRange { start, end }) } else { Ok(blocks) }
    }

    /// An area for frames that are not the instance's.
    pub(crate) fn foreign<'a>(
        pages: usize,
        kind: Kind,
        protection: Protection,
        cache: Cache,
        backing: Backing<'a>,
    ) -> Shape<'a> {
        let attributes = Attributes::new(protection, cache, false);
        Shape {
            pages,
            align: 1,
            slack: 0,
            attributes,
            backing,
            kind,
            wait: true,
            guard_below: false,
            within: None,
        }
    }
}
