//! A stack as a value.

use super::Area;
use crate::{AllocError, PAGE_SIZE, Platform, Request, Vmalloc};
use core::{fmt, mem::MaybeUninit, ops::Range, ptr::NonNull};

/// A stack, with guard pages below and above it, that is given back when it is dropped.
///
/// ```
/// # use vmalloc::{PAGE_SIZE, Stack, Vmalloc};
/// # #[cfg(not(feature = "host"))]
/// # fn main() {}
/// # #[cfg(feature = "host")]
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// # let machine = vmalloc::host::Machine::new(1, 200);
/// # // SAFETY: nothing grows, nor is anything used twice.
/// # let range = unsafe { machine.pointers(1) };
/// # // SAFETY: nothing else is mapped there.
/// # let vmalloc = &unsafe { Vmalloc::new(&machine, range)? };
/// # let switch_to = |top: usize| assert_eq!(top % 16, 0);
/// let stack = Stack::new(vmalloc, 16 * PAGE_SIZE)?;
/// switch_to(stack.top().addr().get());
/// # Ok(()) }
/// ```
///
/// # On overflow
/// The stack faults at an address in [`guard`](Self::guard). A page fault handler need not know the stacks:
/// [`find_area`](Vmalloc::find_area) works in it, and tells whose guard page an address lies in. The handler
/// needs a stack of its own (an IST entry), since the CPU pushes its frame where the stack has overflowed.
///
/// ```
/// # use vmalloc::{PAGE_SIZE, Platform, Stack, Vmalloc};
/// fn overflowed<P: Platform>(vmalloc: &Vmalloc<P>, fault: usize) -> bool {
///     vmalloc.find_area(fault).is_some_and(|area| (area.guard_start()..area.start).contains(&fault))
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
/// let stack = Stack::new(vmalloc, 4 * PAGE_SIZE)?;
/// let bottom = stack.top().addr().get() - 4 * PAGE_SIZE;
/// assert!(overflowed(vmalloc, bottom - 8));
/// assert!(!overflowed(vmalloc, bottom));
/// # Ok(()) }
/// ```
///
/// # When it is dropped
/// It is freed as an [`Area`] is. Whoever runs a CPU on it, in `unsafe` code, ensures that none does by then.
pub struct Stack<'a, P: Platform> {
    area: Area<'a, P, MaybeUninit<u8>>,
}

impl<'a, P: Platform> Stack<'a, P> {
    /// Allocates a stack of `size` bytes, rounded up to whole pages, full of zeros, at which backtraces end.
    /// This is refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn new(vmalloc: &'a Vmalloc<P>, size: usize) -> Result<Self, AllocError> {
        let size = size.checked_next_multiple_of(PAGE_SIZE).ok_or(AllocError::TooLarge { size })?;
        Ok(Self { area: Area::new_uninit(vmalloc, Request::new(size).zeroed().guard_below())? })
    }

    /// Returns the address that the stack grows down from: the first one past it, a multiple of [`PAGE_SIZE`].
    ///
    /// The System V ABI requires the stack pointer to be a multiple of 16 at a `call`, and so 8 less than one
    /// at the start of a function. That is so in a function entered by `call` on this stack if the stack
    /// pointer was `top()` before. One that is entered otherwise, by `jmp`, `ret` or `iretq`, needs a stack
    /// pointer of `top() - 8`, where a zero takes the place of a return address and ends backtraces.
    pub fn top(&self) -> NonNull<u8> {
        // SAFETY: the end of the area.
        unsafe { self.area.as_ptr().add(self.area.len()) }
    }

    /// Returns the stack's lowest address.
    pub fn bottom(&self) -> NonNull<u8> {
        self.area.as_ptr()
    }

    /// Returns the stack's addresses, from [`bottom`](Self::bottom) to [`top`](Self::top).
    pub fn range(&self) -> Range<usize> {
        self.bottom().as_ptr() as usize..self.top().as_ptr() as usize
    }

    /// Returns the addresses of the guard pages below the stack, where an overflow faults: at least one page.
    pub fn guard(&self) -> Range<usize> {
        let bottom = self.range().start;
        match self.area.vmalloc().find_area(bottom) {
            Some(area) => area.guard_start()..bottom,
            None => unreachable!("the stack is allocated"),
        }
    }
}

impl<P: Platform> fmt::Debug for Stack<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stack({:#x?})", self.range())
    }
}
