//! `vmalloc` and its relatives.

use crate::{
    AllocError, Event, Platform, Request, Vmalloc,
    areas::{Attempt, Shape},
    page_table::entry::GuardInfo,
    reclaim::Ticket,
};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Allocates `size` bytes, contiguous in kernel virtual address space, of undefined contents,
    /// readable and writable, with a guard page behind. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    #[inline]
    pub fn vmalloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.allocate(Request::new(size))
    }

    /// Allocates as [`vmalloc`](Self::vmalloc) does, filled with zeros. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn vzalloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.allocate(Request::new(size).zeroed())
    }

    /// Allocates what `request` asks for. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    #[inline]
    pub fn allocate(&self, request: Request) -> Result<NonNull<u8>, AllocError> {
        let caller = Location::caller();
        if let Some(size) = request.plain_size() {
            let attributes = Shape::attributes_of(&request);
            if (1..=crate::PAGE_SIZE).contains(&size)
                && let Some(area) = self.areas_room().allocate_page_fast(size, attributes, caller)
            {
                return Ok(area);
            }
            if let Some(area) = self.areas_room().allocate_fast(size, attributes, caller) {
                return Ok(area);
            }
        }
        self.allocate_slow(request, caller)
    }

    #[inline(never)]
    fn allocate_slow(
        &self,
        request: Request,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        let made = match Shape::requested(self.base(), &request) {
            Ok(shape) => self.make(&shape, caller),
            Err(error) => Err(error),
        };
        self.traced(request.size, caller, made)
    }

    /// Makes an area, and makes room for it if there is none and it may wait.
    #[inline]
    pub(super) fn make(
        &self,
        shape: &Shape<'_>,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        self.base().refuse_in_interrupt()?;
        let guard = GuardInfo { slack: shape.slack, kind: shape.kind, caller };
        let ticket = self.reclaim().ticket();
        let made = match self.areas_room().make(shape, guard, Attempt::Usual) {
            Ok(made) => made,
            Err(error) => self.make_again(error, shape, guard, ticket)?,
        };
        match NonNull::new(made as *mut u8) {
            Some(address) => Ok(address),
            None => unreachable!("the range does not start at zero"),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_again(
        &self,
        error: AllocError,
        shape: &Shape<'_>,
        guard: GuardInfo,
        ticket: Ticket,
    ) -> Result<usize, AllocError> {
        if !shape.wait {
            self.reclaim().give_up();
            return Err(error);
        }
        let attempt = |attempt| self.areas_room().make(shape, guard, attempt);
        self.reclaim().make_again(error, shape.frames_needed(), ticket, attempt)
    }

    /// Passes on what became of a request for `size` bytes, and tells the machine if the instance is traced.
    pub(super) fn traced(
        &self,
        size: usize,
        caller: &'static Location<'static>,
        result: Result<NonNull<u8>, AllocError>,
    ) -> Result<NonNull<u8>, AllocError> {
        if self.base().is_traced() {
            self.trace_result(size, caller, result);
        }
        result
    }

    #[cold]
    fn trace_result(
        &self,
        size: usize,
        caller: &'static Location<'static>,
        result: Result<NonNull<u8>, AllocError>,
    ) {
        let event = match result.map(|area| self.find_area(area.as_ptr() as usize)) {
            Ok(Some(area)) => {
                Event::Allocate { address: area.start, pages: area.pages, kind: area.kind, caller }
            }
            // Somebody freed it who was not given it.
            Ok(None) => return,
            Err(error) => Event::AllocateFailed { error, size, caller },
        };
        self.platform().trace(event);
    }
}
