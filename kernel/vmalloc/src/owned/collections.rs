//! The users' types: boxes and vectors in areas of their own.
//!
//! A reference to an instance is an allocator of `allocator-api2`, and so works with every collection that
//! takes one. Each allocation is an area, so these are for what is large: the least is a page. Growing moves
//! page table entries, not bytes.

use crate::{PAGE_SIZE, Platform, Request, Vmalloc};
use allocator_api2::alloc::{AllocError, Allocator, Layout};
use core::ptr::NonNull;

/// A value in an area of its own.
///
/// `VBox::new_in(value, &vmalloc)` makes one; `try_new_in` returns an error when there is no memory.
pub type VBox<'a, T, P> = allocator_api2::boxed::Box<T, &'a Vmalloc<P>>;

/// A vector in an area of its own.
///
/// `VVec::new_in(&vmalloc)` makes one; `try_reserve` returns an error when there is no memory.
///
/// ```
/// # use vmalloc::{VVec, Vmalloc};
/// # #[cfg(not(feature = "host"))]
/// # fn main() {}
/// # #[cfg(feature = "host")]
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// # let machine = vmalloc::host::Machine::new(1, 200);
/// # // SAFETY: nothing grows, nor is anything used twice.
/// # let range = unsafe { machine.pointers(1) };
/// # // SAFETY: nothing else is mapped there.
/// # let vmalloc = &unsafe { Vmalloc::new(&machine, range)? };
/// let mut numbers = VVec::with_capacity_in(1000, vmalloc);
/// numbers.extend(0..1000_u32);
/// assert_eq!(numbers[999], 999);
/// # Ok(()) }
/// ```
pub type VVec<'a, T, P> = allocator_api2::vec::Vec<T, &'a Vmalloc<P>>;

impl<P: Platform> Vmalloc<P> {
    #[track_caller]
    fn allocate_layout(&self, layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            // Any aligned address will do, and none is to be freed.
            let dangling = core::ptr::without_provenance_mut(layout.align());
            return Ok(NonNull::slice_from_raw_parts(NonNull::new(dangling).ok_or(AllocError)?, 0));
        }
        let request = Request::new(layout.size()).align(layout.align());
        let request = if zeroed { request.zeroed() } else { request };
        let area = self.allocate(request).map_err(|_| AllocError)?;
        Ok(NonNull::slice_from_raw_parts(area, layout.size()))
    }

    #[track_caller]
    fn resize(&self, area: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.allocate_layout(new, false);
        }
        // An area that moves is aligned to a page only.
        let misaligns = new.align() > old.align() || new.size() > old.size();
        if new.size() == 0 || new.align() > PAGE_SIZE && misaligns {
            return self.copy(area, old, new);
        }
        // SAFETY: the area was allocated by `allocate_layout`, and only the caller uses it.
        let area = unsafe { self.vrealloc(area, new.size()) }.map_err(|_| AllocError)?;
        Ok(NonNull::slice_from_raw_parts(area, new.size()))
    }

    #[track_caller]
    fn copy(&self, area: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let copy = self.allocate_layout(new, false)?;
        // SAFETY: both are allocated, do not overlap, and have as many bytes.
        unsafe { copy.cast::<u8>().copy_from_nonoverlapping(area, old.size().min(new.size())) };
        // SAFETY: allocated with this layout; the caller uses the copy from now on.
        unsafe { (&self).deallocate(area, old) };
        Ok(copy)
    }
}

// SAFETY: areas stay where they are until freed or resized by these calls; moving or copying the
// reference changes nothing about them; two references to one instance are interchangeable.
unsafe impl<P: Platform> Allocator for &Vmalloc<P> {
    #[track_caller]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.allocate_layout(layout, false)
    }

    #[track_caller]
    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.allocate_layout(layout, true)
    }

    unsafe fn deallocate(&self, area: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        // SAFETY: promised by the caller.
        if let Err(error) = unsafe { self.vfree(area) } {
            panic!("an area of a collection cannot be freed: {error}");
        }
    }

    #[track_caller]
    unsafe fn grow(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.resize(ptr, old, new)
    }

    #[track_caller]
    unsafe fn shrink(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.resize(ptr, old, new)
    }
}
