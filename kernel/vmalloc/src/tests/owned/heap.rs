//! The heap.

extern crate std;

use super::{INSTANCE, Machine, with_memory};
use crate::{AllocError, BLOCK_PAGES, Heap, PAGE_SIZE, PurgeNotifier, Usage, tests::machine::Random};
use core::alloc::{GlobalAlloc, Layout};
use std::{format, vec::Vec};

type Tested = Heap<&'static Machine>;

const fn heap() -> Tested {
    Heap::new(|| INSTANCE.get())
}

const NOTHING: Usage = Usage { size: 0, used: 0, chunks: 0, large: 0 };

/// Memory that a test allocated, filled with a byte.
struct Object {
    memory: *mut u8,
    layout: Layout,
    byte: u8,
}

impl Object {
    fn new(heap: &Tested, size: usize, align: usize, byte: u8) -> Option<Self> {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        // SAFETY: the size is not zero.
        let memory = unsafe { heap.alloc(layout) };
        let mut object = (!memory.is_null()).then_some(Self { memory, layout, byte })?;
        assert!((memory as usize).is_multiple_of(align), "{memory:p} is not aligned to {align}");
        object.fill();
        Some(object)
    }

    fn small(heap: &Tested) -> Option<Self> {
        Self::new(heap, 1000, 8, 7)
    }

    fn fill(&mut self) {
        // SAFETY: as many bytes are allocated.
        unsafe { self.memory.write_bytes(self.byte, self.layout.size()) };
    }

    fn assert_kept(&self, bytes: usize) {
        // SAFETY: as many bytes are allocated, and were written.
        let bytes = unsafe { core::slice::from_raw_parts(self.memory, bytes) };
        assert!(bytes.iter().all(|&byte| byte == self.byte), "{:p} was overwritten", self.memory);
    }

    fn free(self, heap: &Tested) {
        self.assert_kept(self.layout.size());
        // SAFETY: allocated with this layout, and used no more.
        unsafe { heap.dealloc(self.memory, self.layout) };
    }
}

#[test]
fn before_there_is_an_instance_it_refuses() {
    static EARLY: Tested = heap();
    assert!(Object::small(&EARLY).is_none());
    assert_eq!((EARLY.usage(), EARLY.trim()), (NOTHING, 0));
}

/// Seen failing, by areas that stay, with no chunk given back; and with an empty chunk given back at once, by the loop at
/// the end.
#[test]
fn it_grows_by_doubling_and_gives_back() {
    with_memory(2, 8000, 16, |machine, vmalloc| {
        let heap = heap();
        let mut objects = Vec::new();
        let mut sizes = Vec::new();
        while heap.usage().size < 4 << 20 {
            objects.push(Object::small(&heap).expect("memory enough"));
            sizes.push(heap.usage().size);
        }
        sizes.dedup();
        assert_eq!(sizes, [128, 256, 512, 1024, 2048, 4096].map(|kib| kib << 10));
        assert_eq!((heap.usage().chunks, vmalloc.areas().count()), (6, 6));
        while let Some(object) = objects.pop() {
            object.free(&heap);
        }
        let usage = heap.usage();
        assert_eq!((usage.chunks, usage.used, usage.size), (1, 0, 128 << 10), "the smallest stays");
        vmalloc.trim();
        let frames = machine.frames_taken();
        for _ in 0..20 {
            Object::small(&heap).expect("memory enough").free(&heap);
        }
        assert_eq!(machine.frames_taken(), frames, "no chunk comes and goes");
        assert_eq!((heap.trim(), heap.usage()), (128 << 10, NOTHING));
    });
}

/// Seen failing with one attempt only, and, by its many chunks, with a second one of one page.
#[test]
fn it_grows_by_less_where_there_is_less() {
    with_memory(1, 3 * BLOCK_PAGES, 8, |_, _| {
        let heap = heap();
        let objects: Vec<_> = core::iter::from_fn(|| Object::small(&heap)).collect();
        let Usage { size, chunks, .. } = heap.usage();
        // A chunk of 4 MiB is more than there is; 2 MiB are in use by then.
        assert!(size > (3 * BLOCK_PAGES - 20) * PAGE_SIZE && chunks < 20, "{:?}", heap.usage());
        objects.into_iter().for_each(|object| object.free(&heap));
        heap.trim();
    });
}

/// Seen failing with objects that have what was there before.
#[test]
fn small_memory_of_zeros_is_all_zeros() {
    with_memory(1, 4 * BLOCK_PAGES, 8, |_, _| {
        let heap = heap();
        for size in [1, 100, 5000] {
            Object::new(&heap, size, 8, 0xff).expect("memory enough").free(&heap);
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            // SAFETY: the size is not 0.
            let memory = unsafe { heap.alloc_zeroed(layout) };
            let zeros = Object { memory, layout, byte: 0 };
            zeros.free(&heap);
        }
        heap.trim();
    });
}

/// Seen failing with areas that nobody counts down.
#[test]
fn what_is_large_is_an_area_of_its_own() {
    with_memory(1, 4 * BLOCK_PAGES, 8, |_, vmalloc| {
        let heap = heap();
        for (size, align, pages) in
            [(8 * PAGE_SIZE, 8, 8), (1 << 20, 1, 256), (1, 2 * PAGE_SIZE, 1), (9 * PAGE_SIZE + 1, 64, 10)]
        {
            let object = Object::new(&heap, size, align, 3).expect("memory enough");
            let area = vmalloc.find_area(object.memory as usize).expect("an area");
            assert_eq!((area.start, area.pages), (object.memory as usize, pages));
            let bytes = pages * PAGE_SIZE;
            assert_eq!(heap.usage(), Usage { size: bytes, used: bytes, chunks: 0, large: 1 });
            object.free(&heap);
            assert!(vmalloc.find_area(area.start).is_none());
        }
        assert_eq!(heap.usage(), NOTHING);
    });
}

/// Seen failing with the pages of an area that shrinks not counted.
#[test]
fn what_is_large_is_resized_as_an_area() {
    with_memory(1, 4 * BLOCK_PAGES, 8, |_, vmalloc| {
        let heap = heap();
        let mut object = Object::new(&heap, 10 * PAGE_SIZE, 8, 9).expect("memory enough");
        for pages in [20, 8, 30] {
            // SAFETY: allocated with this layout.
            object.memory = unsafe { heap.realloc(object.memory, object.layout, pages * PAGE_SIZE) };
            let area = vmalloc.find_area(object.memory as usize).expect("an area");
            assert_eq!((area.start, area.pages), (object.memory as usize, pages));
            object.layout = Layout::from_size_align(pages * PAGE_SIZE, 8).expect("a layout");
            assert_eq!(heap.usage().size, pages * PAGE_SIZE);
            object.fill();
        }
        object.free(&heap);
        assert_eq!(heap.usage(), NOTHING);
    });
}

/// Seen failing with what handlers freed forgotten.
#[test]
fn an_interrupt_handler_frees_but_does_not_allocate() {
    with_memory(1, 4 * BLOCK_PAGES, 8, |machine, _| {
        let heap = heap();
        let objects: Vec<_> = (0..9)
            .map(|number| Object::new(&heap, 1 + number * 5000, 1, 5).expect("memory enough"))
            .collect();
        machine.set_interrupt(true);
        assert!(Object::small(&heap).is_none());
        assert!(Object::new(&heap, 1 << 20, 8, 1).is_none());
        objects.into_iter().for_each(|object| object.free(&heap));
        assert_eq!(heap.trim(), 0);
        machine.set_interrupt(false);
        assert_eq!(heap.usage().used, 0);
        heap.trim();
        assert_eq!(heap.usage(), NOTHING);
    });
}

/// Seen failing with chunks that are given back only by the free that empties them.
#[test]
fn chunks_that_an_interrupt_handler_empties_go_back_with_the_next_free() {
    with_memory(1, 8000, 16, |machine, _| {
        let heap = heap();
        let mut objects = Vec::new();
        while heap.usage().chunks < 4 {
            objects.push(Object::small(&heap).expect("memory enough"));
        }
        // It lies in the oldest chunk, which is not to spare.
        let first = objects.remove(0);
        machine.set_interrupt(true);
        objects.into_iter().for_each(|object| object.free(&heap));
        machine.set_interrupt(false);
        assert_eq!(heap.usage().chunks, 4, "a look at it gives nothing back");
        Object::small(&heap).expect("memory enough").free(&heap);
        assert_eq!(heap.usage().chunks, 2, "that of the first object, and the smallest empty one");
        first.free(&heap);
        assert_eq!(heap.usage().chunks, 1);
        heap.trim();
    });
}

/// Seen failing with a notifier that does nothing.
#[test]
fn an_allocation_that_runs_out_gets_the_chunk_that_the_heap_keeps() {
    // The notifier stays as long as the instance.
    static HEAP: Tested = heap();
    with_memory(1, 2 * BLOCK_PAGES, 8, |_, vmalloc| {
        assert!(vmalloc.register_notifier(&HEAP));
        Object::small(&HEAP).expect("memory enough").free(&HEAP);
        assert_eq!(HEAP.usage().chunks, 1);
        let mut pages = Vec::new();
        while HEAP.usage().chunks > 0 {
            pages.push(vmalloc.vmalloc(PAGE_SIZE).expect("the heap has a chunk"));
        }
        while let Ok(page) = vmalloc.vmalloc(PAGE_SIZE) {
            pages.push(page);
        }
        assert!(Object::small(&HEAP).is_none());
        assert_eq!(vmalloc.vmalloc(PAGE_SIZE).map_err(AllocError::reason), Err(AllocError::NO_FRAMES));
        // SAFETY: the pages are allocated, and used no more.
        pages.into_iter().for_each(|page| unsafe { vmalloc.vfree(page) }.expect("allocated"));
    });
}

#[test]
fn as_a_notifier_it_says_whether_it_gave_something_back() {
    with_memory(1, BLOCK_PAGES, 4, |_, _| {
        let heap = heap();
        assert!(!heap.purge(AllocError::NO_FRAMES));
        Object::small(&heap).expect("memory enough").free(&heap);
        assert!(heap.purge(AllocError::NO_FRAMES));
        assert!(!heap.purge(AllocError::NO_FRAMES));
    });
}

#[test]
fn its_areas_are_its_chunks_and_what_is_large() {
    with_memory(1, BLOCK_PAGES, 4, |_, vmalloc| {
        let heap = heap();
        let objects = [1000, 8 * PAGE_SIZE, 9 * PAGE_SIZE]
            .map(|size| Object::new(&heap, size, 8, 1).expect("memory enough"));
        assert_eq!((heap.usage().areas(), vmalloc.areas().count()), (3, 3));
        assert_eq!(format!("{heap:?}"), "Heap { .. }");
        objects.into_iter().for_each(|object| object.free(&heap));
        heap.trim();
    });
}

#[test]
#[should_panic(expected = "which never gave it out")]
fn memory_of_others_is_refused() {
    with_memory(1, BLOCK_PAGES, 2, |_, _| {
        let mut word = 0_u64;
        // SAFETY: none: this must panic.
        unsafe { heap().dealloc((&raw mut word).cast(), Layout::new::<u64>()) };
    });
}

/// Random objects, on several CPUs, some freed by interrupt handlers, some resized; memory runs out now and then.
#[test]
fn random_objects_keep_what_they_hold() {
    for seed in 1..=12 {
        with_memory(3, 4 * BLOCK_PAGES, 16, |machine, _| {
            let (heap, mut random) = (heap(), Random::new(seed));
            let mut objects = Vec::<Object>::new();
            for step in 0..6000 {
                machine.run_on(random.below(3));
                // It fills up, and empties again.
                let grows = if step / 1500 % 2 == 0 { 60 } else { 35 };
                if random.below(100) < grows {
                    let most = random.pick(&[20, 200, 3000, 60_000]);
                    let (size, align) = (1 + random.below(most), 1 << random.below(14));
                    objects.extend(Object::new(&heap, size, align, step as u8));
                } else if !objects.is_empty() {
                    let object = objects.swap_remove(random.below(objects.len()));
                    if random.below(4) == 0 {
                        objects.extend(resized(&heap, object, 1 + random.below(70_000)));
                    } else {
                        machine.set_interrupt(random.below(3) == 0);
                        object.free(&heap);
                        machine.set_interrupt(false);
                    }
                }
                let least: usize = objects.iter().map(|object| object.layout.size()).sum();
                let Usage { size, used, .. } = heap.usage();
                assert!(least <= used && used <= size);
            }
            objects.into_iter().for_each(|object| object.free(&heap));
            assert_eq!(heap.usage().used, 0);
            heap.trim();
            assert_eq!(heap.usage(), NOTHING);
        });
    }
}

/// Resizes an object; where that is refused it is as it was.
fn resized(heap: &Tested, object: Object, size: usize) -> Option<Object> {
    // SAFETY: allocated with this layout, and used by the result alone.
    let memory = unsafe { heap.realloc(object.memory, object.layout, size) };
    if memory.is_null() {
        return Some(object);
    }
    let layout = Layout::from_size_align(size, object.layout.align()).expect("a layout");
    let kept = object.layout.size().min(size);
    let mut now = Object { memory, layout, ..object };
    // What moves by its page table entries leaves its bytes where they are, in a test's memory.
    if memory == object.memory || kept < 8 * PAGE_SIZE {
        now.assert_kept(kept);
    }
    now.fill();
    Some(now)
}
