//! Who makes the areas of the cases: the vmalloc library, or what stands in its place.

use super::parameters::Crate;
use crate::{
    command::CommandError,
    instead::{self, Addresses, FreeList, Instead, Vmem},
    memory::{self, Machine},
};
use alloc::boxed::Box;
use core::ptr::NonNull;
use vmalloc::{AllocError, Frame, PAGE_SIZE, Protection, ReallocError, Request, Vmalloc};

/// Makes areas.
pub(super) trait Maker {
    /// What is asked for.
    type Request: Copy;
    /// Pages with frames of their own. They are freed when dropped.
    type Area<'a>: Touch
    where
        Self: 'a;
    /// Frames of the caller's that are mapped. They are unmapped when dropped.
    type Mapping<'a>: Touch
    where
        Self: 'a;

    /// A request for so many pages, by 2 MiB pages if that is wished and can be.
    fn request(pages: usize, huge: bool) -> Self::Request;

    #[track_caller]
    fn make(&self, request: Self::Request) -> Result<Self::Area<'_>, AllocError>;

    #[track_caller]
    #[inline]
    fn of_pages(&self, pages: usize) -> Result<Self::Area<'_>, AllocError> {
        self.make(Self::request(pages, false))
    }

    #[track_caller]
    fn map<'a>(&'a self, frames: &'a [Frame]) -> Result<Self::Mapping<'a>, AllocError>;
}

/// What can be written to.
pub(super) trait Touch {
    /// Writes one byte, which must reach memory.
    fn touch(&self);
}

/// The kernel's instance of the library.
pub(super) struct Library(&'static Vmalloc<Machine>);

/// An area of the library's that is freed when dropped.
pub(super) struct Area<'a> {
    library: &'a Library,
    start: NonNull<u8>,
}

/// A mapping of the library's that is unmapped when dropped.
pub(super) struct Mapping<'a> {
    library: &'a Library,
    start: NonNull<u8>,
    frames: &'a [Frame],
}

impl Maker for Library {
    type Request = Request;
    type Area<'a> = Area<'a>;
    type Mapping<'a> = Mapping<'a>;

    #[inline]
    fn request(pages: usize, huge: bool) -> Request {
        let request = Request::new(pages.saturating_mul(PAGE_SIZE));
        if huge { request.huge() } else { request }
    }

    #[track_caller]
    #[inline]
    fn make(&self, request: Request) -> Result<Area<'_>, AllocError> {
        let start = self.0.allocate(request)?;
        Ok(Area { library: self, start })
    }

    #[track_caller]
    #[inline]
    fn map<'a>(&'a self, frames: &'a [Frame]) -> Result<Mapping<'a>, AllocError> {
        let start = self.0.vm_map_ram(frames, Protection::ReadWrite)?;
        Ok(Mapping { library: self, start, frames })
    }
}

impl Area<'_> {
    /// Where its first byte is, which others may use while the area lives.
    #[inline]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn resize(&mut self, size: usize) -> Result<(), AllocError> {
        // SAFETY: the area is ours, and nobody else got its address.
        match unsafe { self.library.0.vrealloc(self.start, size) } {
            Ok(area) => self.start = area,
            Err(ReallocError::Size(error)) => return Err(error),
            Err(error) => panic!("an area that was allocated cannot be resized: {error}"),
        }
        Ok(())
    }
}

impl Touch for Area<'_> {
    #[inline]
    fn touch(&self) {
        // SAFETY: the area is ours and has at least a page.
        unsafe { self.start.write_volatile(1) };
    }
}

impl Drop for Area<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the area is ours, and nobody else got its address.
        if let Err(error) = unsafe { self.library.0.vfree(self.start) } {
            panic!("an area that was allocated cannot be freed: {error}");
        }
    }
}

impl Touch for Mapping<'_> {
    #[inline]
    fn touch(&self) {
        // SAFETY: the mapping is ours, and so are the frames.
        unsafe { self.start.write_volatile(1) };
    }
}

impl Drop for Mapping<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody else got its address.
        if let Err(error) = unsafe { self.library.0.vm_unmap_ram(self.start, self.frames.len()) } {
            panic!("what was mapped cannot be unmapped: {error}");
        }
    }
}

impl<A: Addresses> Maker for Instead<A> {
    type Request = usize;
    type Area<'a>
        = instead::Area<'a, A>
    where
        A: 'a;
    type Mapping<'a>
        = instead::Area<'a, A>
    where
        A: 'a;

    fn request(pages: usize, _: bool) -> usize {
        pages
    }

    fn make(&self, pages: usize) -> Result<instead::Area<'_, A>, AllocError> {
        self.allocate(pages)
    }

    fn map<'a>(&'a self, frames: &'a [Frame]) -> Result<instead::Area<'a, A>, AllocError> {
        self.map(frames)
    }
}

impl<A: Addresses> Touch for instead::Area<'_, A> {
    #[inline]
    fn touch(&self) {
        // SAFETY: the area is ours and has at least a page.
        unsafe { self.start().write_volatile(1) };
    }
}

/// Who makes the areas of a run.
pub(super) enum Makers {
    Library(Library),
    FreeList(Box<Instead<FreeList>>),
    Vmem(Box<Instead<Vmem>>),
}

impl Makers {
    pub fn library() -> Self {
        Self::Library(Library(memory::vmalloc()))
    }

    /// The library, or what stands in its place.
    pub fn new(instead: Option<Crate>) -> Result<Self, CommandError> {
        Ok(match instead {
            None => Self::library(),
            Some(Crate::FreeList) => Self::FreeList(Box::new(Instead::new()?)),
            Some(Crate::Vmem) => Self::Vmem(Box::new(Instead::new()?)),
        })
    }
}
