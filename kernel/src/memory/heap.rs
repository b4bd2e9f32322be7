//! The kernel heap: `linked_list_allocator` on chunks of memory from vmalloc.
//!
//! Allocated and freed from in threads, pinned or not; an interrupt handler that tries is refused by a panic.
//!
//! It starts empty. When no chunk has room a new one is added, each twice as large as the one
//! before and at least as large as the request needs; where there is no memory for that, one that is as large as the
//! request needs. Chunks are kept.
//!
//! Lock: the heap's, before those of vmalloc; a new chunk is allocated outside of it.

use super::machine::vmalloc;
use crate::{arch::cpu, lock_class, sync::SpinLock};
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::NonNull,
};
use linked_list_allocator::Heap;
use vmalloc::PAGE_SIZE;

/// Bytes of the first chunk.
const FIRST_CHUNK: usize = 1 << 20;
/// The last chunk that could be added is half of all the address space there is.
const CHUNKS: usize = 26;

/// What the heap has and uses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all chunks.
    pub size: usize,
    /// Bytes that are allocated, with the allocator's rounding.
    pub used: usize,
    /// Number of chunks.
    pub chunks: usize,
}

struct Chunks {
    heaps: [Heap; CHUNKS],
    count: usize,
}

impl Chunks {
    fn in_use(&mut self) -> &mut [Heap] {
        &mut self.heaps[..self.count]
    }

    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.in_use().iter_mut().rev().find_map(|heap| heap.allocate_first_fit(layout).ok())
    }
}

struct KernelHeap(SpinLock<Chunks>);

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(SpinLock::new(
    lock_class!("heap"),
    Chunks { heaps: [const { Heap::empty() }; CHUNKS], count: 0 },
));

// SAFETY: memory comes from one chunk's allocator and goes back to it; chunks are never given back.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        cpu::assert_no_interrupt("heap memory was allocated");
        loop {
            let chunks = {
                let mut chunks = self.0.lock();
                if let Some(memory) = chunks.allocate(layout) {
                    return memory.as_ptr();
                }
                chunks.count
            };
            if self.grow(layout, chunks).is_none() {
                return core::ptr::null_mut();
            }
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        cpu::assert_no_interrupt("heap memory was freed");
        let Some(memory) = NonNull::new(memory) else { return };
        let mut chunks = self.0.lock();
        let holds = |heap: &&mut Heap| (heap.bottom()..heap.top()).contains(&memory.as_ptr());
        match chunks.in_use().iter_mut().find(holds) {
            // SAFETY: the memory is from this chunk, with this layout: the caller's promise.
            Some(heap) => unsafe { heap.deallocate(memory, layout) },
            None => panic!("{memory:p} was freed to the heap, which never gave it out"),
        }
    }
}

impl KernelHeap {
    /// Adds a chunk that surely has room for `layout`, unless somebody added one since there were `seen`.
    fn grow(&self, layout: Layout, seen: usize) -> Option<()> {
        if seen == CHUNKS {
            return None;
        }
        // The allocator rounds sizes up and keeps a header in front of holes.
        let needed = layout.size().checked_add(layout.align())?.checked_add(64)?;
        let least = needed.checked_next_multiple_of(PAGE_SIZE)?;
        let wanted = (FIRST_CHUNK << seen).max(needed.checked_next_power_of_two()?);
        let allocate = |size| vmalloc().vmalloc(size).ok().map(|chunk| (chunk, size));
        // Before it refuses, vmalloc has whoever keeps memory for speed give it back.
        let (chunk, size) = allocate(wanted).or_else(|| allocate(least))?;
        let mut chunks = self.0.lock();
        if chunks.count != seen {
            drop(chunks);
            // SAFETY: the chunk was just allocated and nobody was told of it.
            let freed = unsafe { vmalloc().vfree(chunk) };
            return freed.ok();
        }
        // SAFETY: the chunk is ours, `size` bytes long, and stays for ever.
        unsafe { chunks.heaps[seen].init(chunk.as_ptr(), size) };
        chunks.count += 1;
        Some(())
    }
}

/// What the heap has and uses.
pub fn usage() -> Usage {
    let mut chunks = HEAP.0.lock();
    let count = chunks.count;
    let (mut size, mut used) = (0, 0);
    for heap in chunks.in_use() {
        size += heap.size();
        used += heap.used();
    }
    Usage { size, used, chunks: count }
}
