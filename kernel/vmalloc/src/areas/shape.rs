//! Shapes: checked requests, in pages.

use crate::{
    AllocError, BLOCK_PAGES, Frame, Kind, PAGE_SHIFT, PAGE_SIZE, Platform, Protection, Request,
    base::Base,
    page_table::{Attributes, GuardInfo},
    span::{Span, run_blocks},
    types::{Caller, Owner, request::Place},
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

    /// Returns whether a 2 MiB page may map the 512 pages from page `from` of the area on. Of frames in a list only the
    /// ends are looked at. The first 2 MiB of physical memory have several memory types, by the fixed-range MTRRs, which
    /// one entry must not cover (Intel SDM 3A, 12.11.9).
    pub fn may_be_huge(&self, from: usize) -> bool {
        let (first, last) = match *self {
            Self::Owned { huge } => return huge,
            Self::Frames(frames) => (frames[from], Some(frames[from + BLOCK_PAGES - 1])),
            Self::Physical(first) => (first.behind(from), None),
        };
        let is_aligned = first.number() > 0 && first.number().is_multiple_of(BLOCK_PAGES as u64);
        is_aligned && last.is_none_or(|last| last == first.behind(BLOCK_PAGES - 1))
    }
}

/// What an area is to be.
pub(crate) struct Shape<'a> {
    pub pages: usize,
    /// In pages.
    pub align: usize,
    /// What the guard page behind it tells of it.
    pub guard: GuardInfo,
    pub attributes: Attributes,
    pub backing: Backing<'a>,
    /// Whether it may purge before it fails.
    pub wait: bool,
    /// Guard pages below it in a block that it shares, blocks below a run that are its guard: one or none.
    pub below: usize,
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
pub(super) fn owned_pages<P: Platform>(base: &Base<P>, size: usize) -> Result<(usize, usize), AllocError> {
    let (pages, slack) = pages_for(&base.span, size)?;
    if pages > base.platform.total_frames() { Err(too_many(base, pages)) } else { Ok((pages, slack)) }
}

#[cold]
fn too_many<P: Platform>(base: &Base<P>, pages: usize) -> AllocError {
    AllocError::OutOfFrames { needed: pages, free: base.platform.free_frames() }
}

/// What an attempt needs, which its refusal tells.
#[derive(Clone, Copy)]
pub(crate) struct Needs {
    /// Of address space, in pages.
    pub pages: usize,
    /// In bytes.
    pub align: usize,
    /// Frames, at least, if nothing is cached.
    pub frames: usize,
    /// Who needs them.
    pub caller: Caller,
}

impl Needs {
    /// Pages anywhere, with so many frames.
    pub fn pages(pages: usize, frames: usize, caller: Caller) -> Self {
        Self { pages, align: PAGE_SIZE, frames, caller }
    }
}

impl<'a> Shape<'a> {
    /// Makes the shape of an area of `pages` pages that is aligned to a page and may lie anywhere.
    #[inline]
    pub fn new(pages: usize, guard: GuardInfo, attributes: Attributes, backing: Backing<'a>) -> Self {
        Self { pages, align: 1, guard, attributes, backing, wait: true, below: 0, within: None }
    }

    /// What the pages of an area are to be mapped as.
    #[inline]
    pub fn attributes_of(request: &Request) -> Attributes {
        let attributes = Attributes::new(request.protection, Owner::Area);
        if request.zeroed { attributes.zeroed() } else { attributes }
    }

    /// The shape of what was asked for. Refused with [`AllocError::NoAccess`] where nobody is to access it: no area is made
    /// so.
    #[inline]
    pub fn of<P: Platform>(base: &Base<P>, request: &Request, caller: Caller) -> Result<Self, AllocError> {
        let (pages, slack) = owned_pages(base, request.size)?;
        if !request.align.is_power_of_two() {
            return Err(AllocError::BadAlignment { align: request.align });
        }
        let within = if request.place.is_none() { None } else { Self::place(&base.span, request, pages)? };
        let guard = GuardInfo { slack, kind: Kind::Vmalloc, caller, made: base.now() };
        let backing = Backing::Owned { huge: request.huge && pages >= BLOCK_PAGES };
        Ok(Self {
            align: (request.align >> PAGE_SHIFT).max(1),
            wait: request.wait,
            below: request.place.is_some_and(|place| place.guard_below).into(),
            within,
            ..Self::new(pages, guard, Self::attributes_of(request), backing)
        })
    }

    /// Returns which blocks an area of `pages` pages may lie in that may not lie anywhere, or has a guard page below; `None`
    /// means all. It refuses what the range has no room for with a block below it.
    #[cold]
    fn place(span: &Span, request: &Request, pages: usize) -> Result<Option<Range<usize>>, AllocError> {
        let Some(Place { within, guard_below }) = request.place else { return Ok(None) };
        if request.protection == Protection::None {
            return Err(AllocError::NoAccess);
        }
        let needed = run_blocks(pages);
        let shares_block = pages < BLOCK_PAGES - 1 && request.align <= PAGE_SIZE;
        if guard_below && !shares_block && needed >= span.blocks() {
            return Err(AllocError::TooLarge { size: request.size });
        }
        let Some((start, end)) = within else { return Ok(None) };
        let blocks = span.blocks_inside(start, end);
        if blocks.is_empty() || guard_below && blocks.len() <= needed {
            return Err(AllocError::BadRange { start, end });
        }
        Ok(Some(blocks))
    }

    /// Whether the area can share a block with others.
    #[inline]
    pub fn fits_block(&self) -> bool {
        // The guard page below takes the place that alignment needs.
        let most = if self.below > 0 { 1 } else { BLOCK_PAGES / 2 };
        self.pages + self.below < BLOCK_PAGES && self.align <= most && self.within.is_none()
    }

    /// Whether it is to share a block. Where two do not fit, sharing gains nothing, and a whole block is cached for the
    /// next area if the frames are its own; but a block of its own needs another one for a guard page below.
    #[inline]
    pub fn is_small(&self) -> bool {
        let owned = self.backing.owner() == Owner::Area;
        self.fits_block() && (self.below > 0 || self.pages < BLOCK_PAGES / 2 || !owned)
    }

    pub fn needs(&self) -> Needs {
        let needs = Needs::pages(self.pages, self.frames_needed(), self.guard.caller);
        Needs { align: self.align * PAGE_SIZE, ..needs }
    }

    /// Frames that the area needs, at least, if nothing is cached: its own, and leaf tables if it has blocks of its own.
    pub fn frames_needed(&self) -> usize {
        let own = if self.backing.owner() == Owner::Area { self.pages } else { 0 };
        if self.fits_block() {
            return own;
        }
        let huge =
            (0..self.pages / BLOCK_PAGES).filter(|block| self.backing.may_be_huge(block * BLOCK_PAGES));
        own + run_blocks(self.pages) - huge.count()
    }
}
