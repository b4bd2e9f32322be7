//! Shapes: requests in pages, checked.

use crate::{
    AllocError, BLOCK_PAGES, Cache, Frame, Kind, PAGE_SHIFT, PAGE_SIZE, Platform, Protection, Request,
    base::Base,
    page_table::entry::Attributes,
    span::{Span, run_blocks},
    types::Owner,
};
use core::ops::Range;

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

impl Backing<'_> {
    pub fn owner(&self) -> Owner {
        if matches!(self, Self::Owned { .. }) { Owner::Area } else { Owner::Caller }
    }
}

/// What an area is to be.
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

/// Pages for `size` bytes, and the bytes of the last one that are not needed.
#[inline]
pub(crate) fn pages_for(span: &Span, size: usize) -> Result<(usize, usize), AllocError> {
    if size == 0 {
        return Err(AllocError::ZeroSize);
    }
    // The range is at most 32 TiB, so what passes here cannot overflow when rounded up.
    if size > span.range.len() - PAGE_SIZE {
        return Err(AllocError::TooLarge { size });
    }
    let pages = size.div_ceil(PAGE_SIZE);
    Ok((pages, pages * PAGE_SIZE - size))
}

/// Pages for `size` bytes as [`pages_for`] tells them, of an area that owns its frames.
#[inline]
pub(crate) fn owned_pages_for<P: Platform>(
    base: &Base<P>,
    size: usize,
) -> Result<(usize, usize), AllocError> {
    let (pages, slack) = pages_for(&base.span, size)?;
    if pages > base.platform.total_frames() {
        return Err(AllocError::OutOfFrames);
    }
    Ok((pages, slack))
}

impl<'a> Shape<'a> {
    /// An area of `pages` pages of its own frames, aligned to a page, anywhere.
    #[inline]
    pub fn owned(pages: usize, slack: usize, attributes: Attributes) -> Self {
        let backing = Backing::Owned { huge: false };
        let (kind, wait) = (Kind::Vmalloc, true);
        Self { pages, align: 1, slack, attributes, backing, kind, wait, guard_below: false, within: None }
    }

    /// An area for frames that are not the instance's.
    pub fn foreign(
        pages: usize,
        kind: Kind,
        protection: Protection,
        cache: Cache,
        backing: Backing<'a>,
    ) -> Self {
        let attributes = Attributes::new(protection, cache, Owner::Caller);
        Self { backing, kind, ..Self::owned(pages, 0, attributes) }
    }

    /// What the pages of an area are to be mapped as.
    #[inline]
    pub fn attributes_of(request: &Request) -> Attributes {
        let attributes = Attributes::new(request.protection, Cache::WriteBack, Owner::Area);
        if request.zeroed { attributes.zeroed() } else { attributes }
    }

    /// The shape of what was asked for.
    #[inline]
    pub fn requested<P: Platform>(base: &Base<P>, request: &Request) -> Result<Self, AllocError> {
        let (pages, slack) = owned_pages_for(base, request.size)?;
        if !request.align.is_power_of_two() {
            return Err(AllocError::BadAlignment { align: request.align });
        }
        let (guard_below, within) = match request.place.is_anywhere() {
            true => (false, None),
            false => Self::place(&base.span, request, pages)?,
        };
        Ok(Self {
            align: (request.align >> PAGE_SHIFT).max(1),
            backing: Backing::Owned { huge: request.huge && pages >= BLOCK_PAGES },
            wait: request.wait,
            guard_below,
            within,
            ..Self::owned(pages, slack, Self::attributes_of(request))
        })
    }

    /// Whether an area of `pages` pages that may not lie anywhere has a guard page below, and which blocks it may lie in.
    /// What the range has no room for with a block below it is refused.
    #[cold]
    fn place(
        span: &Span,
        request: &Request,
        pages: usize,
    ) -> Result<(bool, Option<Range<usize>>), AllocError> {
        let (needed, guard_below) = (run_blocks(pages), request.place.guard_below());
        let shares_block = pages < BLOCK_PAGES - 1 && request.align <= PAGE_SIZE;
        if guard_below && !shares_block && needed >= span.blocks() {
            return Err(AllocError::TooLarge { size: request.size });
        }
        let Some((start, end)) = request.place.within() else { return Ok((guard_below, None)) };
        let blocks = span.blocks_inside(start, end);
        if blocks.is_empty() || guard_below && blocks.len() <= needed {
            return Err(AllocError::BadRange { start, end });
        }
        Ok((guard_below, Some(blocks)))
    }

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

    /// Whether it is to share a block. Where two do not fit, sharing gains nothing, and a whole block is cached for the
    /// next area if the frames are its own; but a block of its own needs another one for a guard page below.
    #[inline]
    pub fn is_small(&self) -> bool {
        let owned = self.backing.owner() == Owner::Area;
        self.fits_block() && (self.guard_below || self.pages < BLOCK_PAGES / 2 || !owned)
    }

    /// Frames that the area needs, at least, if nothing is cached: its own, and leaf tables if it has blocks of its own.
    pub fn frames_needed(&self) -> usize {
        let tables = if self.fits_block() { 0 } else { run_blocks(self.pages) };
        match self.backing {
            Backing::Owned { huge: false } => self.pages + tables,
            Backing::Owned { huge: true } => self.pages,
            Backing::Frames(_) | Backing::Physical(_) => tables,
        }
    }
}
