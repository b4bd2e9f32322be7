//! Memory that interrupt handlers freed, linked by its own first words: noting it takes no lock or memory.

use core::{
    alloc::Layout,
    iter, ptr,
    ptr::NonNull,
    sync::atomic::{AtomicPtr, Ordering},
};

/// A list of memory, the last first.
pub(super) struct Returned(AtomicPtr<Noted>);

/// The first words of memory that is in the list. An object of a chunk has room for two words: that is the least its
/// allocator rounds up to.
struct Noted {
    next: *mut Self,
    bytes: usize,
}

impl Returned {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Notes memory that was freed.
    ///
    /// # Safety
    /// A chunk's allocator gave it out for this layout, and nobody uses it any more.
    pub unsafe fn push(&self, memory: NonNull<u8>, layout: Layout) {
        let noted = memory.cast::<Noted>();
        let link = |next| {
            // SAFETY: two words are there, aligned, and nobody else's.
            unsafe { noted.write(Noted { next, bytes: layout.size() }) };
            Some(noted.as_ptr())
        };
        let _ = self.0.fetch_update(Ordering::Release, Ordering::Relaxed, link);
    }

    /// Takes all that was noted: the memory, and layouts of as many bytes as it was allocated for.
    pub fn take_all(&self) -> impl Iterator<Item = (NonNull<u8>, Layout)> + use<> {
        // A load alone, nearly always.
        let is_empty = self.0.load(Ordering::Relaxed).is_null();
        let mut next =
            if is_empty { ptr::null_mut() } else { self.0.swap(ptr::null_mut(), Ordering::Acquire) };
        iter::from_fn(move || {
            let noted = NonNull::new(next)?;
            // SAFETY: `push` wrote it, and who takes the list has it alone.
            let Noted { next: after, bytes } = unsafe { noted.read() };
            next = after;
            Some((noted.cast(), Layout::from_size_align(bytes, 1).ok()?))
        })
    }
}
