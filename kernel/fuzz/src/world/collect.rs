//! What collections ask of an instance, as the allocator that they take.

use super::{World, at, bytes};
use crate::model::Page;
use allocator_api2::alloc::{AllocError, Allocator, Layout};
use std::ptr::NonNull;
use vmalloc::{Kind, PAGE_SIZE, Protection};

impl World<'_> {
    pub(super) fn collect(&self, instance: usize, which: u32, how: u32, more: u32) {
        let pages = if more & 15 == 15 { more / 16 % 700 } else { more / 16 % 12 } as usize;
        let slack = if pages > 0 && more & 3 == 3 { which as usize % (PAGE_SIZE - 8) } else { 0 };
        let size = bytes(pages) - slack;
        if how.is_multiple_of(4) {
            return self.new_of_collection(instance, size, how / 4, more);
        }
        let start = self.models[instance].borrow().pick(which, |area| area.kind == Kind::Vmalloc);
        match start {
            None => {}
            Some(start) if how % 4 == 1 => self.free_of_collection(instance, start),
            Some(start) => self.resize_of_collection(instance, start, size),
        }
    }

    fn new_of_collection(&self, instance: usize, size: usize, how: u32, more: u32) {
        let (align, zeroed) = (1 << (how / 2 % 15), how & 1 == 1);
        let layout = layout(size, align);
        let made = self.call(instance, |vmalloc| match zeroed {
            true => Allocator::allocate_zeroed(&vmalloc, layout),
            false => Allocator::allocate(&vmalloc, layout),
        });
        self.note(|| format!("{layout:?} is allocated, zeroed: {zeroed}: {made:x?}"));
        let Some(made) = self.given(made, size) else { return };
        assert!(made.is_multiple_of(align), "{made:#x} is not aligned to {align:#x}");
        if size == 0 {
            // SAFETY: it was allocated with this layout.
            return self.call(instance, |vmalloc| unsafe { vmalloc.deallocate(at(made), layout) });
        }
        self.add(instance, self.owned(instance, made, size, Page::owned(zeroed, Protection::ReadWrite)));
        self.use_at(instance, made, more as usize / 8 % size.div_ceil(PAGE_SIZE));
    }

    fn free_of_collection(&self, instance: usize, start: usize) {
        self.use_at(instance, start, 0);
        let area = self.models[instance].borrow_mut().remove(start).expect("picked");
        self.note(|| format!("{start:#x} is deallocated, {} bytes", area.requested));
        // SAFETY: nobody uses the area but simulated CPUs, which may do what they like.
        self.call(instance, |vmalloc| unsafe { vmalloc.deallocate(at(start), layout(area.requested, 1)) });
    }

    fn resize_of_collection(&self, instance: usize, start: usize, size: usize) {
        // One of no bytes would be copied, by the program itself, which sees none of it. The first word is looked at.
        let size = size.max(8);
        let mut area = self.models[instance].borrow_mut().areas.remove(&start).expect("picked");
        let (old, new) = (layout(area.requested, 1), layout(size, 1));
        let resized = self.call(instance, |vmalloc| {
            // SAFETY: the area is not in the model meanwhile, so nobody uses it.
            unsafe {
                match size >= area.requested {
                    true => Allocator::grow(&vmalloc, at(start), old, new),
                    false => Allocator::shrink(&vmalloc, at(start), old, new),
                }
            }
        });
        self.note(|| format!("{start:#x} of {} bytes is resized to {size}: {resized:x?}", area.requested));
        // An area that has pages which nobody may access is not resized: that is no shortage.
        let is_refused = area.hid && resized.is_err();
        if let Some(now) = if is_refused { None } else { self.given(resized, size) } {
            assert!(area.pages.iter().all(|page| page.protection != Protection::None), "it was resized");
            self.resized(instance, &mut area, now, size);
        }
        let (start, last) = (area.start, area.pages.len() - 1);
        self.add(instance, area);
        self.use_at(instance, start, last);
    }

    /// The address of the bytes that an allocator gave.
    fn given(&self, given: Result<NonNull<[u8]>, AllocError>, size: usize) -> Option<usize> {
        let Ok(given) = given else {
            self.disarm();
            return None;
        };
        assert_eq!(given.len(), size);
        Some(given.cast::<u8>().as_ptr() as usize)
    }
}

/// A layout of so many bytes. An area that is there may be aligned to more: only where it is to move up to another alignment
/// than a page's would it matter, and then the program itself would copy bytes, of which it sees none.
fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("it is small")
}
