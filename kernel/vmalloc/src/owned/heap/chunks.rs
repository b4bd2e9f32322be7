//! The chunks of a heap, in a list that is linked through them, the oldest first: there may be any number of them.

use super::Usage;
use crate::{LockClass, PAGE_SIZE, lock::Locked};
use core::{alloc::Layout, iter, ptr::NonNull};
use linked_list_allocator::Heap;

/// What a chunk begins with; its objects lie behind.
struct Chunk {
    next: Option<NonNull<Self>>,
    /// Bytes of the chunk, these words included.
    size: usize,
    heap: Heap,
}

impl Chunk {
    fn holds(&self, memory: NonNull<u8>) -> bool {
        (self.heap.bottom()..self.heap.top()).contains(&memory.as_ptr())
    }

    fn is_empty(&self) -> bool {
        self.heap.used() == 0
    }
}

/// Chunks, guarded by the heap's lock.
pub(super) struct Chunks {
    first: Option<NonNull<Chunk>>,
}

// SAFETY: the chunks belong to this list alone, wherever that goes.
unsafe impl Send for Chunks {}

impl Locked for Chunks {
    const CLASS: LockClass = LockClass::Heap;
}

impl Chunks {
    pub const fn new() -> Self {
        Self { first: None }
    }

    /// Returns the bytes of a chunk that has room for a layout, which is not large.
    pub fn room_for(layout: Layout) -> usize {
        // The allocator rounds sizes up, and keeps a header in front of an aligned object.
        (size_of::<Chunk>() + layout.size() + layout.align() + 64).next_multiple_of(PAGE_SIZE)
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Chunk> {
        let mut next = self.first;
        iter::from_fn(move || {
            // SAFETY: `add` wrote what the chunk begins with, and it is borrowed with the list. Each comes once.
            let chunk = unsafe { next?.as_mut() };
            next = chunk.next;
            Some(chunk)
        })
    }

    fn empty(&mut self) -> impl Iterator<Item = &mut Chunk> {
        self.all().filter(|chunk| chunk.is_empty())
    }

    /// Allocates from the oldest chunk that has room, so that the newer ones, which are larger, become empty.
    pub fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.all().find_map(|chunk| chunk.heap.allocate_first_fit(layout).ok())
    }

    /// Frees memory of a chunk, and returns whether that left more than one chunk empty.
    ///
    /// # Safety
    /// A chunk gave it out, for a layout of as many bytes, and nobody uses it any more.
    pub unsafe fn deallocate(&mut self, memory: NonNull<u8>, layout: Layout) -> bool {
        let Some(chunk) = self.all().find(|chunk| chunk.holds(memory)) else {
            panic!("{memory:p} was freed to the heap, which never gave it out");
        };
        // SAFETY: promised by the caller.
        unsafe { chunk.heap.deallocate(memory, layout) };
        chunk.is_empty() && self.empty().count() > 1
    }

    /// Adds a chunk.
    ///
    /// # Safety
    /// The chunk is `size` bytes long, page-aligned, and the heap's until [`take_spare`](Self::take_spare) returns it.
    pub unsafe fn add(&mut self, start: NonNull<u8>, size: usize) {
        let chunk = start.cast::<Chunk>();
        let begin = size_of::<Chunk>();
        // SAFETY: promised by the caller; a chunk is a page at least, and `Chunk` is shorter.
        unsafe {
            let heap = Heap::new(start.as_ptr().add(begin), size - begin);
            chunk.write(Chunk { next: None, size, heap });
        }
        match self.all().last() {
            Some(last) => last.next = Some(chunk),
            None => self.first = Some(chunk),
        }
    }

    /// Takes out the largest chunk in which nothing is left, if there are more than `keep`: where it starts, and its bytes.
    pub fn take_spare(&mut self, keep: usize) -> Option<(NonNull<u8>, usize)> {
        if self.empty().count() <= keep {
            return None;
        }
        let chunk = self.empty().max_by_key(|chunk| chunk.size)?;
        let (spare, size, next) = (NonNull::from(&mut *chunk), chunk.size, chunk.next);
        let before = self.all().find(|chunk| chunk.next == Some(spare));
        match before {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        Some((spare.cast(), size))
    }

    pub fn usage(&mut self) -> Usage {
        self.all().fold(Usage::default(), |all, chunk| Usage {
            size: all.size + chunk.size,
            used: all.used + chunk.heap.used(),
            chunks: all.chunks + 1,
            ..all
        })
    }
}
