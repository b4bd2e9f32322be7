//! The kernel heap: the vmalloc library's, on the kernel's instance.
//!
//! Allocated from in threads, pinned or not; an interrupt handler that tries gets none, and may free. It starts empty.
//!
//! Lock: the heap's, with which no other is taken; chunks and large objects are allocated and freed outside of it. It is not
//! called under another lock: a free may wake the purger. Debug builds see to that.

use super::machine::{Machine, try_vmalloc};
use crate::sync::order;
use core::alloc::{GlobalAlloc, Layout};
use vmalloc::{Heap, Usage};

#[global_allocator]
static HEAP: Unlocked = Unlocked(Heap::new(try_vmalloc));

/// A heap that is called without a lock.
struct Unlocked(Heap<Machine>);

// SAFETY: the heap does all.
unsafe impl GlobalAlloc for Unlocked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        order::expect_none_held("memory is allocated");
        // SAFETY: the caller's promises.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        order::expect_none_held("memory is allocated");
        // SAFETY: the caller's promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        order::expect_none_held("memory is resized");
        // SAFETY: the caller's promises.
        unsafe { self.0.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        order::expect_none_held("memory is freed");
        // SAFETY: the caller's promises.
        unsafe { self.0.dealloc(memory, layout) }
    }
}

/// What the heap has and uses.
pub fn usage() -> Usage {
    HEAP.0.usage()
}

/// Gives back the chunk that the heap keeps though nothing is in it; returns whether there was one.
pub fn trim() -> bool {
    HEAP.0.trim() > 0
}
