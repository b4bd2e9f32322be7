//! An area as a value.

use crate::{AllocError, Frame, Platform, ProtectError, Protection, Request, Vmalloc};
use core::{
    fmt,
    mem::{self, MaybeUninit},
    ptr::NonNull,
};

/// An area that is freed when it is dropped.
///
/// The bytes of an area made by [`new`](Self::new) are zeros at first; those of one made by
/// [`new_uninit`](Self::new_uninit) are undefined, and so have the type [`MaybeUninit<u8>`](MaybeUninit), as
/// in a `Box`.
///
/// ```
/// use vmalloc::{Area, Platform, Protection, Request, Vmalloc};
///
/// fn table<P: Platform>(vmalloc: &Vmalloc<P>) -> Result<Area<'_, P>, Box<dyn core::error::Error>> {
///     let mut squares = Area::new(vmalloc, Request::new(256))?;
///     for (number, square) in squares.as_mut_slice().iter_mut().enumerate() {
///         *square = (number * number) as u8;
///     }
///     squares.protect(Protection::ReadOnly)?;
///     Ok(squares)
/// }
/// # #[cfg(not(feature = "host"))]
/// # fn main() {}
/// # #[cfg(feature = "host")]
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// # let machine = vmalloc::host::Machine::new(1, 200);
/// # // SAFETY: nothing grows, nor is anything used twice.
/// # let range = unsafe { machine.pointers(1) };
/// # // SAFETY: nothing else is mapped there.
/// # let vmalloc = &unsafe { Vmalloc::new(&machine, range)? };
/// let squares = table(vmalloc)?;
/// assert_eq!(squares.as_slice()[12], 144);
/// # Ok(()) }
/// ```
///
/// # When it is dropped
/// [`vfree`](Vmalloc::vfree) frees the area, which never fails. In an interrupt handler the area is only
/// noted, and the next purge frees it.
pub struct Area<'a, P: Platform, T = u8> {
    vmalloc: &'a Vmalloc<P>,
    bytes: NonNull<[T]>,
    protection: Protection,
}

// SAFETY: it is plain memory that belongs to this value alone, wherever that goes; any thread may use the instance.
unsafe impl<P: Platform, T: Send> Send for Area<'_, P, T> where Vmalloc<P>: Sync {}
// SAFETY: by a shared reference the bytes are only read, and the instance may be used by several threads.
unsafe impl<P: Platform, T: Sync> Sync for Area<'_, P, T> where Vmalloc<P>: Sync {}

impl<'a, P: Platform> Area<'a, P> {
    /// Allocates what `request` asks for, [zeroed](Request::zeroed) whether it asks for that or not. This is
    /// refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn new(vmalloc: &'a Vmalloc<P>, request: Request) -> Result<Self, AllocError> {
        let area = Area::new_uninit(vmalloc, request.zeroed())?;
        // SAFETY: all bytes are zeros.
        Ok(unsafe { area.assume_init() })
    }
}

impl<'a, P: Platform> Area<'a, P, MaybeUninit<u8>> {
    /// Allocates what `request` asks for, undefined unless it is to be zeroed; refused in interrupt handlers.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn new_uninit(vmalloc: &'a Vmalloc<P>, request: Request) -> Result<Self, AllocError> {
        let start = vmalloc.allocate(request)?;
        let bytes = NonNull::slice_from_raw_parts(start.cast(), request.size);
        Ok(Self { vmalloc, bytes, protection: request.protection })
    }

    /// Declares the bytes to be initialised.
    ///
    /// # Safety
    /// Each byte has been written since the area was made, or the area was requested as zeroed.
    pub unsafe fn assume_init(self) -> Area<'a, P> {
        let (vmalloc, protection) = (self.vmalloc, self.protection);
        let bytes = NonNull::slice_from_raw_parts(self.as_ptr(), self.len());
        mem::forget(self);
        Area { vmalloc, bytes, protection }
    }
}

impl<'a, P: Platform, T> Area<'a, P, T> {
    /// Makes an `Area` of what [`leak`](Self::leak) returned, or of any area that owns its frames: a slice at
    /// the address that [`allocate`](Vmalloc::allocate) returned, of as many bytes as were asked for.
    ///
    /// # Safety
    /// 1. `vmalloc` allocated the area, with that size, and did not free it. Nobody else uses or frees it.
    /// 2. All its pages can be [read and written](Protection::ReadWrite).
    /// 3. `T` is `MaybeUninit<u8>`, or it is `u8` and all bytes are initialised.
    pub unsafe fn from_raw(vmalloc: &'a Vmalloc<P>, bytes: NonNull<[T]>) -> Self {
        Self { vmalloc, bytes, protection: Protection::ReadWrite }
    }

    /// Gives the area up without freeing it: [`from_raw`](Self::from_raw) takes it back, or `vfree` frees it.
    #[must_use = "what is leaked and not noted is never freed"]
    pub fn leak(self) -> NonNull<[T]> {
        let bytes = self.bytes;
        mem::forget(self);
        bytes
    }

    pub(super) fn vmalloc(&self) -> &'a Vmalloc<P> {
        self.vmalloc
    }

    /// Returns the first byte's address.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.bytes.cast()
    }

    /// Returns how many bytes were asked for, which is never zero.
    #[expect(clippy::len_without_is_empty, reason = "no area is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes for reading.
    ///
    /// # Panics
    /// If [nobody may access](Protection::None) them.
    pub fn as_slice(&self) -> &[T] {
        assert!(self.protection != Protection::None, "{self:?} cannot be read");
        // SAFETY: the bytes are initialised as far as `T` says, can be read, and are borrowed with `self`.
        unsafe { self.bytes.as_ref() }
    }

    /// Returns the bytes for reading and writing.
    ///
    /// # Panics
    /// If they are [protected](Self::protect) against writes.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        assert!(self.protection == Protection::ReadWrite, "{self:?} cannot be written");
        // SAFETY: as above; they can be written, and are borrowed with `self`, which nobody else has.
        unsafe { self.bytes.as_mut() }
    }

    /// Returns the frames of the area's pages, in their order, as a device's list of addresses needs them.
    /// The pages count as written from now on; see [`area_frames`](Vmalloc::area_frames).
    pub fn frames(&self) -> impl Iterator<Item = Frame> {
        self.vmalloc.area_frames(self.as_ptr().as_ptr() as usize).into_iter().flatten()
    }

    /// Returns how the area is protected.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Changes the protection of the whole area. When this returns, the new one is in effect on every CPU. It
    /// is refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`ProtectError`]; nothing has changed then.
    pub fn protect(&mut self, protection: Protection) -> Result<(), ProtectError> {
        // SAFETY: the area is borrowed by nobody else, so that nobody counts on its protection, and nobody frees it. Its bytes
        // are no code to anybody who does not know that they are.
        unsafe { self.vmalloc.set_protection(self.as_ptr(), self.len(), protection) }?;
        self.protection = protection;
        Ok(())
    }
}

impl<P: Platform, T> Drop for Area<'_, P, T> {
    fn drop(&mut self) {
        // SAFETY: nobody borrows the area any more, which belongs to this value.
        if let Err(error) = unsafe { self.vmalloc.vfree(self.as_ptr()) } {
            unreachable!("an area is freed by its owner only: {error}");
        }
    }
}

impl<P: Platform, T> fmt::Debug for Area<'_, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Area({:p}, {} bytes, {:?})", self.as_ptr(), self.len(), self.protection)
    }
}
