//! The kernel heap: the vmalloc library's, on the kernel's instance.
//!
//! Allocated from in threads, pinned or not; an interrupt handler that tries gets none, and may free. It starts empty.
//!
//! Lock: the heap's, with which no other is taken; chunks and large objects are allocated and freed outside of it.

use super::machine::{Machine, try_vmalloc};
use vmalloc::{Heap, Usage};

#[global_allocator]
static HEAP: Heap<Machine> = Heap::new(try_vmalloc);

/// What the heap has and uses.
pub fn usage() -> Usage {
    HEAP.usage()
}

/// Gives back the chunk that the heap keeps though nothing is in it; returns whether there was one.
pub fn trim() -> bool {
    HEAP.trim() > 0
}
