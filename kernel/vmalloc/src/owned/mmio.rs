//! A device's registers as a value.

use crate::{AllocError, Cache, FreeError, Platform, Vmalloc};
use core::{fmt, ptr::NonNull};
use volatile::{VolatilePtr, access::ReadOnly};

/// A device's registers or memory, mapped until this is dropped, and accessed by volatile reads and writes of
/// the crate [`volatile`], which is re-exported as `vmalloc::volatile`.
///
/// ```no_run
/// use vmalloc::{Cache, Mmio, Platform, Vmalloc};
/// use vmalloc::volatile::map_field;
///
/// #[repr(C)]
/// struct Timer {
///     capabilities: u64,
///     _reserved: u64,
///     configuration: u64,
/// }
///
/// fn start<P: Platform>(vmalloc: &Vmalloc<P>, physical: u64) -> Result<u64, Box<dyn core::error::Error>> {
///     // SAFETY: the firmware says that the timer is there, and nobody else uses it.
///     let mut timer = unsafe { Mmio::<_, Timer>::new(vmalloc, physical, Cache::Uncached)? };
///     let registers = timer.as_mut_ptr();
///     map_field!(registers.configuration).update(|bits| bits | 1);
///     Ok(map_field!(registers.capabilities).read())
/// }
/// ```
///
/// # When it is dropped
/// [`vunmap`](Vmalloc::vunmap) unmaps the registers. In an interrupt handler, where that is refused, they stay mapped, and
/// their addresses are lost.
pub struct Mmio<'a, P: Platform, T: ?Sized> {
    vmalloc: &'a Vmalloc<P>,
    registers: NonNull<T>,
}

// SAFETY: the mapping belongs to this value alone, wherever that goes; any thread may use the instance.
unsafe impl<P: Platform, T: ?Sized + Send> Send for Mmio<'_, P, T> where Vmalloc<P>: Sync {}
// SAFETY: by a shared reference the registers are only read.
unsafe impl<P: Platform, T: ?Sized + Sync> Sync for Mmio<'_, P, T> where Vmalloc<P>: Sync {}

impl<'a, P: Platform, T> Mmio<'a, P, T> {
    /// Maps the registers at `physical` as [`ioremap`](Vmalloc::ioremap) does; refused in interrupt handlers.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    ///
    /// # Safety
    /// 1. A device has registers or memory of the type `T` there, and each of their values is valid as a `T`.
    /// 2. The address is aligned as the type requires.
    /// 3. Nobody else uses the registers.
    #[track_caller]
    pub unsafe fn new(vmalloc: &'a Vmalloc<P>, physical: u64, cache: Cache) -> Result<Self, AllocError> {
        let registers = vmalloc.ioremap(physical, size_of::<T>(), cache)?.cast::<T>();
        debug_assert!(registers.is_aligned(), "registers at {physical:#x} are not aligned");
        Ok(Self { vmalloc, registers })
    }
}

impl<'a, P: Platform, T> Mmio<'a, P, [T]> {
    /// Maps `count` registers of one type, or words of memory, as [`new`](Mmio::new) does.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    ///
    /// # Safety
    /// As for [`new`](Mmio::new), for each of them.
    #[track_caller]
    pub unsafe fn new_slice(
        vmalloc: &'a Vmalloc<P>,
        physical: u64,
        count: usize,
        cache: Cache,
    ) -> Result<Self, AllocError> {
        let size = count.saturating_mul(size_of::<T>());
        let first = vmalloc.ioremap(physical, size, cache)?.cast::<T>();
        debug_assert!(first.is_aligned(), "registers at {physical:#x} are not aligned");
        Ok(Self { vmalloc, registers: NonNull::slice_from_raw_parts(first, count) })
    }
}

impl<P: Platform, T: ?Sized> Mmio<'_, P, T> {
    /// Returns a pointer for reading the registers; `map_field!` turns it into one to a field.
    pub fn as_ptr(&self) -> VolatilePtr<'_, T, ReadOnly> {
        // SAFETY: the registers are mapped, aligned and valid for `T` as `new` was promised, and borrowed with `self`.
        unsafe { VolatilePtr::new_read_only(self.registers) }
    }

    /// Returns a pointer for reading and writing the registers; `map_field!` turns it into one to a field.
    pub fn as_mut_ptr(&mut self) -> VolatilePtr<'_, T> {
        // SAFETY: as above; nobody else has `self`.
        unsafe { VolatilePtr::new(self.registers) }
    }
}

impl<P: Platform, T: ?Sized> Drop for Mmio<'_, P, T> {
    fn drop(&mut self) {
        // SAFETY: nobody borrows the registers any more, whose mapping belongs to this value.
        match unsafe { self.vmalloc.vunmap(self.registers.cast()) } {
            Ok(()) | Err(FreeError::InInterrupt { .. }) => {}
            Err(error) => unreachable!("registers are unmapped by their owner only: {error}"),
        }
    }
}

impl<P: Platform, T: ?Sized> fmt::Debug for Mmio<'_, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mmio({:p})", self.registers.cast::<u8>())
    }
}
