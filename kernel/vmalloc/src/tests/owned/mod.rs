//! Types that own. What they read and write is the test's own memory, which lies where the instance's range does: the
//! simulated page tables map frames there, and the host's CPU knows nothing of those.

extern crate std;

mod area;
#[cfg(feature = "heap")]
mod heap;
#[cfg(feature = "mmio")]
mod mmio;
mod stack;

use super::{machine::Machine, support::Instance};
use crate::{BLOCK_SIZE, Vmalloc};
use core::cell::Cell;
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    boxed::Box,
};

std::thread_local! {
    /// The instance of the test that runs on this thread.
    static INSTANCE: Cell<Option<&'static Instance>> = const { Cell::new(None) };
}

/// Runs a test with an instance over `blocks` blocks of memory. Everything must be given back in the end.
fn with_memory(
    cpus: usize,
    frames: usize,
    blocks: usize,
    test: impl FnOnce(&'static Machine, &'static Instance),
) {
    let machine: &_ = Box::leak(Box::new(Machine::new(cpus, frames)));
    let layout = Layout::from_size_align(blocks * BLOCK_SIZE, BLOCK_SIZE).expect("a small layout");
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    let start = memory as usize;
    // SAFETY: the machine's address space has nothing else in it.
    let vmalloc = unsafe { Vmalloc::new(machine, start..start + layout.size()) }.expect("frames enough");
    let vmalloc = Box::into_raw(Box::new(vmalloc));
    // SAFETY: it is freed below, when the test has ended.
    let instance = unsafe { &*vmalloc };
    INSTANCE.set(Some(instance));
    test(machine, instance);
    INSTANCE.set(None);
    machine.check();
    assert_eq!(instance.areas().count(), 0, "areas stay");
    // SAFETY: it was boxed above, and nobody uses it any more; the same holds for the memory.
    unsafe {
        drop(Box::from_raw(vmalloc));
        dealloc(memory, layout);
    }
    machine.assert_all_frames_back();
}
