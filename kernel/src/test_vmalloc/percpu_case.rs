//! The benchmark case of per-CPU memory.

use super::{cases::reserve, makers::Library, parameters::Parameters};
use crate::memory::{frames, percpu::PerCpuMemory};
use core::alloc::Layout;
use fastrand::Rng;
use vmalloc::AllocError;

/// Allocates many objects, then frees them all; there are no loops.
pub(super) fn pcpu_alloc(_: &Library, parameters: &Parameters, random: &mut Rng) -> Result<(), AllocError> {
    let count = usize::try_from(parameters.nr_pcpu_objects).unwrap_or(usize::MAX);
    let mut objects = reserve(count)?;
    for _ in 0..count {
        let (size, align) = (random.usize(1..=1024), 1 << random.u8(1..=11));
        let Ok(layout) = Layout::from_size_align(size, align) else { unreachable!("a power of two") };
        objects.push(PerCpuMemory::zeroed(layout).map_err(|_| frames::shortage(1))?);
    }
    Ok(())
}
