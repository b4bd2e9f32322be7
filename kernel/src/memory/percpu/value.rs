//! A value for each CPU.

use super::{PerCpuError, PerCpuMemory, units};
use crate::arch::cpu::Pin;
use core::{alloc::Layout, marker::PhantomData};

/// A value of each CPU's own, as a counter that each increments without disturbing the others. Others may
/// look at it, so what changes in it is atomic.
#[derive(Debug)]
pub struct PerCpu<T> {
    memory: PerCpuMemory,
    values: PhantomData<T>,
}

impl<T> PerCpu<T> {
    /// A value for each CPU, which `init` makes of its number.
    ///
    /// # Errors
    /// See [`PerCpuError`].
    pub fn try_new(init: impl Fn(usize) -> T) -> Result<Self, PerCpuError> {
        // What has no bytes gets one.
        let layout = Layout::new::<T>();
        let size = layout.size().max(1);
        let Ok(layout) = Layout::from_size_align(size, layout.align()) else { unreachable!("a byte") };
        let memory = PerCpuMemory::zeroed(layout)?;
        for cpu in 0..units() {
            // SAFETY: the memory is ours, of this layout, and nobody else knows it yet.
            unsafe { memory.of(cpu).cast::<T>().write(init(cpu)) };
        }
        Ok(Self { memory, values: PhantomData })
    }

    /// The value of the CPU that this runs on, for as long as it stays there.
    #[inline]
    pub fn get<'a>(&'a self, pin: &'a Pin) -> &'a T {
        // SAFETY: there is a value for each CPU, and it is only shared until `self` is dropped.
        unsafe { self.memory.copy_of(pin.cpu()).cast::<T>().as_ref() }
    }

    /// The value of a CPU.
    ///
    /// # Panics
    /// There is no such CPU.
    #[inline]
    pub fn of(&self, cpu: usize) -> &T {
        // SAFETY: as in `get`.
        unsafe { self.memory.of(cpu).cast::<T>().as_ref() }
    }

    /// The values of all CPUs, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..units()).map(|cpu| self.of(cpu))
    }
}

impl<T> Drop for PerCpu<T> {
    fn drop(&mut self) {
        for cpu in 0..units() {
            // SAFETY: each value was written by `try_new`, and nobody has a reference any more.
            unsafe { self.memory.of(cpu).cast::<T>().drop_in_place() };
        }
    }
}
