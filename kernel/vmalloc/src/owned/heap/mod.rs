//! A global allocator: small objects lie in chunks, large ones in areas of their own.
//!
//! It has one lock, and never holds it while it allocates or frees chunks and areas.

mod chunks;
mod returned;

use crate::{
    AllocError, CpuPin, PAGE_SIZE, Platform, PurgeNotifier, Request, Vmalloc,
    lock::{Guard, Lock},
};
use chunks::Chunks;
use core::{
    alloc::{GlobalAlloc, Layout},
    fmt,
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};
use returned::Returned;

/// Bytes from which on an allocation is an area of its own: of eight pages at most an eighth is lost.
const LARGE: usize = 8 * PAGE_SIZE;
/// Bytes of the first chunk.
const FIRST_CHUNK: usize = 32 * PAGE_SIZE;

/// A heap that can be a kernel's global allocator: it takes memory from an instance as it needs it, and gives it back.
///
/// It can be made before there is an instance, in a constant, from a function that returns the instance once
/// there is one. Until then, and in interrupt handlers, allocations are refused: they return null.
///
/// ```text
/// static VMALLOC: Once<Vmalloc<Machine>> = Once::new();
///
/// #[global_allocator]
/// static HEAP: Heap<Machine> = Heap::new(|| VMALLOC.get());
/// ```
/// On the host the machine is for tests, and the heap is not the program's global allocator:
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use std::cell::Cell;
/// use vmalloc::{Heap, Platform, Vmalloc};
///
/// # #[cfg(not(feature = "host"))]
/// # fn main() {}
/// # #[cfg(feature = "host")]
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use vmalloc::host::Machine;
///
/// thread_local! {
///     static VMALLOC: Cell<Option<&'static Vmalloc<&'static Machine>>> = const { Cell::new(None) };
/// }
/// let heap: Heap<&'static Machine> = Heap::new(|| VMALLOC.get());
/// let layout = Layout::new::<[u64; 20]>();
/// // SAFETY: the layout has a size.
/// assert!(unsafe { heap.alloc(layout) }.is_null()); // there is no instance yet
///
/// let machine: &'static Machine = Box::leak(Box::new(Machine::new(1, 500)));
/// // SAFETY: nothing grows, nor is anything used twice.
/// let range = unsafe { machine.pointers(2) };
/// // SAFETY: nothing else is mapped there.
/// let vmalloc = unsafe { Vmalloc::new(machine, range)? };
/// VMALLOC.set(Some(Box::leak(Box::new(vmalloc))));
/// // SAFETY: as above; what was allocated is freed once.
/// unsafe {
///     let object = heap.alloc(layout);
///     assert!(!object.is_null());
///     heap.dealloc(object, layout);
/// }
/// assert_eq!(heap.usage().used, 0);
/// # Ok(()) }
/// ```
///
/// Small objects lie in chunks, in each of which `linked_list_allocator` finds the first hole that fits. A
/// new chunk is as large as all earlier ones together, or as large as there is memory for. An object that
/// takes eight pages or more, or is aligned to more than a page, is an area of its own, so that it costs what
/// [`allocate`](Vmalloc::allocate) costs, grows without being copied, and is given back at once.
///
/// # What is given back
/// An empty chunk goes back to the instance, except the smallest, kept so that a loop that allocates and
/// frees one object does not allocate chunks. [`trim`](Self::trim) gives that one back too. So does the heap
/// as a [`PurgeNotifier`], before the instance refuses an allocation: `vmalloc.register_notifier(&HEAP)`.
///
/// # In interrupt handlers
/// Memory may be freed: it is noted, and the next call for a small object outside of handlers frees it. Chunks that
/// this empties go back at the next free of a small object outside of handlers. [`Platform::in_interrupt`] tells
/// whether the CPU is in one; if it is wrong, a handler waits for ever for the lock of the code it interrupted.
///
/// # When it is dropped
/// The chunks stay allocated. A static is never dropped.
pub struct Heap<P: Platform + 'static> {
    instance: fn() -> Option<&'static Vmalloc<P>>,
    chunks: Lock<Chunks>,
    /// What interrupt handlers freed.
    returned: Returned,
    /// Allocations that are areas of their own, and their pages.
    large: AtomicUsize,
    large_pages: AtomicUsize,
}

/// What a [`Heap`] has and uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of all chunks, and of the areas of large allocations.
    pub size: usize,
    /// Bytes that are allocated, after rounding up.
    pub used: usize,
    /// How many chunks there are, each of which is an area.
    pub chunks: usize,
    /// How many allocations have an area of their own.
    pub large: usize,
}

impl Usage {
    /// Returns how many areas of the instance the heap has.
    #[must_use]
    pub fn areas(&self) -> usize {
        self.chunks + self.large
    }
}

impl<P: Platform> Heap<P> {
    /// Makes a heap that takes memory from the instance that `instance` returns: always the same one, once it returns one.
    pub const fn new(instance: fn() -> Option<&'static Vmalloc<P>>) -> Self {
        Self {
            instance,
            chunks: Lock::new(Chunks::new()),
            returned: Returned::new(),
            large: AtomicUsize::new(0),
            large_pages: AtomicUsize::new(0),
        }
    }

    /// Returns what the heap has and uses. In an interrupt handler it counts only large allocations.
    pub fn usage(&self) -> Usage {
        let chunks = (self.instance)().and_then(|vmalloc| {
            let pin = vmalloc.platform().pin_outside_interrupts()?;
            Some(self.lock(&pin).usage())
        });
        let Usage { size, used, chunks, .. } = chunks.unwrap_or_default();
        let (large, bytes) =
            (self.large.load(Ordering::Relaxed), self.large_pages.load(Ordering::Relaxed) * PAGE_SIZE);
        Usage { size: size + bytes, used: used + bytes, chunks, large }
    }

    /// Gives back all chunks in which nothing is left, and returns how many bytes they had. In an interrupt
    /// handler it does nothing.
    pub fn trim(&self) -> usize {
        (self.instance)().map_or(0, |vmalloc| self.give_back(vmalloc, 0))
    }

    /// Allocates memory for a layout; `None` if it is refused.
    fn allocate(&self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>> {
        let vmalloc = (self.instance)()?;
        if is_large(layout) {
            let request = Request::new(layout.size()).align(layout.align());
            let area = vmalloc.allocate(if zeroed { request.zeroed() } else { request }).ok()?;
            self.large.fetch_add(1, Ordering::Relaxed);
            self.large_pages.fetch_add(pages(layout.size()), Ordering::Relaxed);
            return Some(area);
        }
        let memory = self.allocate_small(vmalloc, layout)?;
        if zeroed {
            // SAFETY: as many bytes were just allocated.
            unsafe { memory.write_bytes(0, layout.size()) };
        }
        Some(memory)
    }

    fn allocate_small(&self, vmalloc: &Vmalloc<P>, layout: Layout) -> Option<NonNull<u8>> {
        let pin = vmalloc.platform().pin_outside_interrupts()?;
        let size = {
            let mut chunks = self.lock(&pin);
            if let Some(memory) = chunks.allocate(layout) {
                return Some(memory);
            }
            chunks.usage().size
        };
        drop(pin);
        self.grow(vmalloc, layout, size)
    }

    /// Adds a chunk to those of `size` bytes together, and allocates from it.
    #[cold]
    fn grow(&self, vmalloc: &Vmalloc<P>, layout: Layout, size: usize) -> Option<NonNull<u8>> {
        let least = Chunks::room_for(layout);
        let mut wanted = size.max(FIRST_CHUNK).max(least);
        let chunk = loop {
            // Before it refuses, the instance has whoever keeps memory for speed give it back.
            match vmalloc.vmalloc(wanted) {
                Ok(chunk) => break chunk,
                Err(_) if wanted == least => return None,
                Err(_) => wanted = (wanted / 2).next_multiple_of(PAGE_SIZE).max(least),
            }
        };
        let pin = vmalloc.platform().pin();
        let mut chunks = self.lock(&pin);
        // Somebody may have freed something meanwhile, or added a chunk.
        if let Some(memory) = chunks.allocate(layout) {
            drop(chunks);
            drop(pin);
            free(vmalloc, chunk);
            return Some(memory);
        }
        // SAFETY: the chunk was just allocated, and is the heap's until it gives it back.
        unsafe { chunks.add(chunk, wanted) };
        chunks.allocate(layout)
    }

    /// Frees memory of this layout, which is not large.
    ///
    /// # Safety
    /// It was allocated for this layout, and nobody uses it any more.
    unsafe fn free_small(&self, vmalloc: &Vmalloc<P>, memory: NonNull<u8>, layout: Layout) {
        let Some(pin) = vmalloc.platform().pin_outside_interrupts() else {
            // SAFETY: promised by the caller.
            return unsafe { self.returned.push(memory, layout) };
        };
        let has_spare = {
            let mut chunks = self.lock(&pin);
            // SAFETY: promised by the caller.
            unsafe { chunks.deallocate(memory, layout) };
            chunks.has_spare()
        };
        drop(pin);
        if has_spare {
            self.give_back(vmalloc, 1);
        }
    }

    /// Gives back chunks in which nothing is left, all but the `keep` smallest. Returns how many bytes these had.
    #[cold]
    fn give_back(&self, vmalloc: &Vmalloc<P>, keep: usize) -> usize {
        let mut given = 0;
        // Ends: chunks are added only where memory is allocated.
        while let Some(pin) = vmalloc.platform().pin_outside_interrupts() {
            let Some((chunk, size)) = self.lock(&pin).take_spare(keep) else { break };
            drop(pin);
            free(vmalloc, chunk);
            given += size;
        }
        given
    }

    /// Locks the chunks, and frees what interrupt handlers noted.
    fn lock<'a, C: CpuPin>(&'a self, pin: &'a C) -> Guard<'a, Chunks, C> {
        let mut chunks = self.chunks.lock(pin);
        for (memory, layout) in self.returned.take_all() {
            // SAFETY: it was allocated for a layout of as many bytes, and freed: `push` was promised so.
            unsafe { chunks.deallocate(memory, layout) };
        }
        chunks
    }
}

/// Returns whether memory for a layout is an area of its own.
fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE || layout.align() > PAGE_SIZE
}

fn pages(size: usize) -> usize {
    size.div_ceil(PAGE_SIZE)
}

/// Frees a chunk or an area of the heap's, which nobody uses any more.
fn free<P: Platform>(vmalloc: &Vmalloc<P>, area: NonNull<u8>) {
    // SAFETY: promised by the caller, who is in this file.
    if let Err(error) = unsafe { vmalloc.vfree(area) } {
        panic!("the heap was given memory that it did not give out: {error}");
    }
}

// SAFETY: memory comes from a chunk, or is an area, that nobody else has, and a chunk is given back when nothing of it is
// allocated. A layout tells of which kind its memory is, so that it is freed as it was allocated.
unsafe impl<P: Platform> GlobalAlloc for Heap<P> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocate(layout, false).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.allocate(layout, true).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let (Some(vmalloc), Some(memory)) = ((self.instance)(), NonNull::new(memory)) else { return };
        if !is_large(layout) {
            // SAFETY: promised by the caller.
            return unsafe { self.free_small(vmalloc, memory, layout) };
        }
        free(vmalloc, memory);
        self.large.fetch_sub(1, Ordering::Relaxed);
        self.large_pages.fetch_sub(pages(layout.size()), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (Some(vmalloc), Some(old)) = ((self.instance)(), NonNull::new(memory)) else {
            return ptr::null_mut();
        };
        // An area that moves is aligned to a page only.
        if is_large(layout) && is_large(new) && layout.align() <= PAGE_SIZE {
            // SAFETY: it is an area, which only the caller uses.
            let Ok(area) = (unsafe { vmalloc.vrealloc(old, size) }) else { return ptr::null_mut() };
            // Wraps where it shrinks, and so it comes out right.
            let more = pages(size).wrapping_sub(pages(layout.size()));
            self.large_pages.fetch_add(more, Ordering::Relaxed);
            return area.as_ptr();
        }
        let Some(copy) = self.allocate(new, false) else { return ptr::null_mut() };
        // SAFETY: both are allocated, do not overlap, and have as many bytes; the old one was allocated for its layout.
        unsafe {
            copy.copy_from_nonoverlapping(old, layout.size().min(size));
            self.dealloc(memory, layout);
        }
        copy.as_ptr()
    }
}

/// Before the instance refuses an allocation, the heap gives it back the empty chunk that it keeps.
impl<P: Platform> PurgeNotifier for Heap<P> {
    fn purge(&self, _: AllocError) -> bool {
        self.trim() > 0
    }
}

impl<P: Platform> fmt::Debug for Heap<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}
