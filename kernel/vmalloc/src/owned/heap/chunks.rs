//! The chunks of a heap, any number of them: a list that is linked through them, the oldest first.

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
    /// A free left more than one chunk empty, and [`take_spare`](Self::take_spare) has not found too few since.
    has_spare: bool,
}

// SAFETY: the chunks belong to this list alone, wherever that goes.
unsafe impl Send for Chunks {}

impl Locked for Chunks {
    const CLASS: LockClass = LockClass::Heap;
}

impl Chunks {
    pub const fn new() -> Self {
        Self { first: None, has_spare: false }
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

    /// Frees memory of a chunk.
    ///
    /// # Safety
    /// A chunk gave it out, for a layout of as many bytes, and nobody uses it any more.
    pub unsafe fn deallocate(&mut self, memory: NonNull<u8>, layout: Layout) {
        let Some(chunk) = self.all().find(|chunk| chunk.holds(memory)) else {
            panic!("{memory:p} was freed to the heap, which never gave it out");
        };
        // SAFETY: promised by the caller.
        unsafe { chunk.heap.deallocate(memory, layout) };
        let is_empty = chunk.is_empty();
        self.has_spare |= is_empty && self.empty().count() > 1;
    }

    /// Returns whether a free left more than one chunk empty, so that it is worth while to [take](Self::take_spare) some.
    pub fn has_spare(&self) -> bool {
        self.has_spare
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
            self.has_spare = false;
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

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    #[repr(C, align(4096))]
    struct Page([u8; PAGE_SIZE]);

    /// Memory for chunks.
    struct Memory(Vec<Page>);

    impl Memory {
        fn new(pages: usize) -> Self {
            Self((0..pages).map(|_| Page([0; PAGE_SIZE])).collect())
        }

        /// Makes a list of `count` chunks of `size` bytes, each of which begins on a page. There is one list at a time.
        fn chunks(&mut self, count: usize, size: usize) -> Chunks {
            let step = size.next_multiple_of(PAGE_SIZE);
            assert!(count * step <= self.0.len() * PAGE_SIZE);
            let start = NonNull::from(self.0.as_mut_slice()).cast::<u8>();
            let mut chunks = Chunks::new();
            for index in 0..count {
                // SAFETY: as many bytes are there, and nobody else's.
                unsafe { chunks.add(start.byte_add(index * step), size) };
            }
            chunks
        }
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    /// Seen failing with what the allocator adds taken away, and with the size times the alignment.
    #[test]
    fn a_chunk_has_room_for_what_it_is_made_for_and_little_more() {
        let mut memory = Memory::new(10);
        for (pages, less) in (1..=8).flat_map(|pages| (1..=160).map(move |less| (pages, less))) {
            for align in [1, 8, 64, PAGE_SIZE] {
                let layout = layout(pages * PAGE_SIZE - less, align);
                let room = Chunks::room_for(layout);
                assert!(room <= (pages + 2) * PAGE_SIZE, "{room} bytes for {layout:?}");
                let made = memory.chunks(1, room).allocate(layout);
                assert!(made.is_some(), "{layout:?} is not in {room} bytes");
            }
        }
    }

    /// What lies behind it is a guard page. Seen failing with a chunk that has its first words' room behind its end.
    #[test]
    fn objects_fill_their_chunk_and_do_not_leave_it() {
        let mut memory = Memory::new(2);
        let mut chunks = memory.chunks(1, PAGE_SIZE);
        let start = chunks.first.expect("added").as_ptr() as usize;
        let objects = iter::from_fn(|| chunks.allocate(layout(16, 16)));
        let ends: Vec<_> = objects.map(|object| object.as_ptr() as usize + 16 - start).collect();
        assert_eq!(ends.iter().max(), Some(&PAGE_SIZE));
        assert_eq!(ends.len(), (PAGE_SIZE - size_of::<Chunk>()) / 16);
    }

    /// Seen failing where the first of them was to spare.
    #[test]
    fn a_chunk_is_to_spare_once_two_are_empty() {
        let mut memory = Memory::new(2);
        let mut chunks = memory.chunks(2, PAGE_SIZE);
        let layout = layout(PAGE_SIZE / 2, 8);
        let objects = [(); 2].map(|()| chunks.allocate(layout).expect("room"));
        assert!(chunks.allocate(layout).is_none(), "one in each");
        // SAFETY: allocated for this layout, and used no more.
        let has_spare = objects.map(|object| unsafe {
            chunks.deallocate(object, layout);
            chunks.has_spare()
        });
        assert_eq!(has_spare, [false, true]);
        assert!(chunks.take_spare(1).is_some() && chunks.take_spare(1).is_none() && !chunks.has_spare());
    }
}
