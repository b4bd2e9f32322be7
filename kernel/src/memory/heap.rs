//! The kernel heap: the vmalloc library's, on the kernel's instance.
//!
//! Allocated from in threads, pinned or not; an interrupt handler that tries gets none, and may free. It starts empty.
//!
//! Small objects are what code does not ask after: as on Linux, which calls them too small to fail, they wait for a while
//! until others give memory back. Larger ones are refused at once, and asked for where that is told.
//!
//! Lock: the heap's, with which no other is taken; chunks and large objects are allocated and freed outside of it. It is not
//! called under another lock: a free may wake the purger. Debug builds see to that.

use super::{
    hooks,
    machine::{Machine, try_vmalloc},
};
use crate::{arch::tsc, sync::order};
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::NonNull,
};
use vmalloc::{Heap, PAGE_SIZE, Usage};

/// Bytes of the largest object that is too small to fail: eight pages, as on Linux.
const SMALL: usize = 8 * PAGE_SIZE;
/// Microseconds for which a small object is waited for, and from one attempt to the next.
const PATIENCE: u64 = 10_000_000;
const PAUSE: u64 = 20_000;

#[global_allocator]
static HEAP: Unlocked = Unlocked(Heap::new(try_vmalloc));

/// A heap that is called without a lock.
struct Unlocked(Heap<Machine>);

/// Makes an object of so many bytes by `attempt`, which returns null without memory. A small one is waited for, where the
/// caller may wait.
fn make(size: usize, attempt: impl Fn() -> *mut u8) -> *mut u8 {
    let object = attempt();
    if !object.is_null() || size > SMALL {
        return object;
    }
    let deadline = tsc::now().saturating_add(tsc::cycles(PATIENCE));
    while tsc::now() < deadline && (hooks::HOOKS.get().pause)(PAUSE) {
        let object = attempt();
        if !object.is_null() {
            return object;
        }
    }
    object
}

/// Allocates an object of this layout, in bytes, and does not wait for others to give memory back, as small objects do: for who
/// holds what they wait for, or has another way. It is freed as any other.
///
/// # Panics
/// The layout has no size.
pub fn alloc_now(layout: Layout) -> Option<NonNull<u8>> {
    order::expect_none_held("memory is allocated");
    assert!(layout.size() > 0, "an object of no bytes was asked for");
    // SAFETY: the layout has a size.
    NonNull::new(unsafe { HEAP.0.alloc(layout) })
}

/// Whether the heap has room for objects of so many bytes each, all at once, or could grow for them now.
pub fn make_room<const N: usize>(sizes: [usize; N]) -> bool {
    let objects = sizes.map(|bytes| {
        let layout = Layout::array::<u8>(bytes.max(1)).ok()?;
        alloc_now(layout).map(|object| (object, layout))
    });
    for (object, layout) in objects.iter().flatten() {
        // SAFETY: it was allocated above, and nobody uses it.
        unsafe { HEAP.0.dealloc(object.as_ptr(), *layout) };
    }
    objects.iter().all(Option::is_some)
}

// SAFETY: the heap does all.
unsafe impl GlobalAlloc for Unlocked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        order::expect_none_held("memory is allocated");
        // SAFETY: the caller's promises.
        make(layout.size(), || unsafe { self.0.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        order::expect_none_held("memory is allocated");
        // SAFETY: the caller's promises.
        make(layout.size(), || unsafe { self.0.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        order::expect_none_held("memory is resized");
        // SAFETY: the caller's promises; without memory, the object is as it was.
        make(size, || unsafe { self.0.realloc(memory, layout, size) })
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
