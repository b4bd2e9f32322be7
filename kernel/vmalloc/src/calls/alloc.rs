//! `vmalloc` and its relatives.

use super::{Made, pointer, trace::Asked};
use crate::{
    AllocError, Kind, Platform, Protection, Request, Vmalloc,
    areas::{Attempt, Shape},
    reclaim::Ticket,
    types::Caller,
};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Allocates `size` bytes, contiguous in kernel virtual address space, with undefined contents, readable
    /// and writable, followed by a guard page. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; a refused call has changed nothing.
    #[track_caller]
    #[inline]
    pub fn vmalloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.allocate(Request::new(size))
    }

    /// Allocates as [`vmalloc`](Self::vmalloc) does, filled with zeros. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; a refused call has changed nothing.
    #[track_caller]
    pub fn vzalloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.allocate(Request::new(size).zeroed())
    }

    /// Allocates what `request` asks for. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; a refused call has changed nothing.
    #[track_caller]
    #[inline]
    pub fn allocate(&self, request: Request) -> Result<NonNull<u8>, AllocError> {
        self.base().debug_assert_cpu();
        let caller = Location::caller();
        if let Some(size) = request.plain_size() {
            let attributes = Shape::attributes_of(&request);
            if let Some(area) = self.areas_room().allocate_hot(size, attributes, caller) {
                return Ok(area);
            }
        }
        self.allocate_slow(request, caller)
    }

    #[inline(never)]
    fn allocate_slow(&self, request: Request, caller: Caller) -> Made {
        let asked = || Asked { size: request.size, align: request.align, kind: Kind::Vmalloc, caller };
        let made = match Shape::of(self.base(), &request, caller) {
            Ok(shape) => self.make(&shape),
            Err(AllocError::NoAccess) => return self.allocate_hidden(request, caller),
            Err(error) => Err(error),
        };
        self.watched(asked, made)
    }

    /// Allocates an area that nobody may access: one that can be read, of which nobody knows, and which is then protected.
    #[cold]
    #[inline(never)]
    fn allocate_hidden(&self, request: Request, caller: Caller) -> Made {
        let read = Request { huge: false, protection: Protection::ReadOnly, ..request };
        let area = self.allocate_slow(read, caller)?;
        // SAFETY: nobody else knows the area.
        match unsafe { self.set_protection(area, request.size, request.protection) } {
            Ok(()) => Ok(area),
            Err(error) => unreachable!("an area of 4 KiB pages is protected: {error}"),
        }
    }

    /// Makes an area, and makes room for it if there is none and it may wait.
    #[inline]
    pub(super) fn make(&self, shape: &Shape<'_>) -> Made {
        self.base().refuse_in_interrupt(AllocError::InInterrupt)?;
        let ticket = self.reclaim().ticket();
        let made = self.areas_room().make(shape, Attempt::Usual);
        made.or_else(|error| self.make_again(error, shape, ticket)).map(pointer)
    }

    #[cold]
    #[inline(never)]
    fn make_again(&self, error: AllocError, shape: &Shape<'_>, ticket: Ticket) -> Result<usize, AllocError> {
        if !shape.wait {
            return Err(self.reclaim().give_up(error, shape.needs()));
        }
        let attempt = |attempt| self.areas_room().make(shape, attempt);
        self.reclaim().make_again(error, shape.needs(), ticket, attempt)
    }
}
