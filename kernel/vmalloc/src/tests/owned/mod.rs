//! Types that own. What they read and write is the test's own memory, which lies where the instance's range does: the
//! simulated page tables map frames there, and the host's CPU knows nothing of those.

extern crate std;

mod area;
#[cfg(feature = "collections")]
mod collections;
#[cfg(feature = "heap")]
mod heap;
#[cfg(feature = "mmio")]
mod mmio;
mod stack;

use super::{machine::Machine, support::Instance};
use crate::Vmalloc;
use core::cell::Cell;
use std::boxed::Box;

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
    // SAFETY: what tests keep over a move of entries has room where it is; what they find zero was never used.
    let range = unsafe { machine.pointers(blocks) };
    // SAFETY: the machine's address space has nothing else in it.
    let vmalloc = unsafe { Vmalloc::new(machine, range) }.expect("frames enough");
    let vmalloc = Box::into_raw(Box::new(vmalloc));
    // SAFETY: it is freed below, when the test has ended.
    let instance = unsafe { &*vmalloc };
    INSTANCE.set(Some(instance));
    test(machine, instance);
    INSTANCE.set(None);
    machine.check();
    assert_eq!(instance.areas().count(), 0, "areas stay");
    // SAFETY: it was boxed above, and nobody uses it any more.
    drop(unsafe { Box::from_raw(vmalloc) });
    machine.assert_all_frames_back();
}
