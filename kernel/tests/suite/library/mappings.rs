//! Much memory of the caller's, mapped by 2 MiB pages where its frames allow it.

use alloc::vec::Vec;
use core::ptr::NonNull;
use kernel::{
    arch::paging::{self, direct_map},
    memory::{self, frames},
};
use vmalloc::{BLOCK_PAGES, BLOCK_SIZE, Cache, Frame, PAGE_SIZE, Protection};
use x86_64::structures::paging::PageTableFlags as Flags;

const BLOCKS: usize = 32;

fn at(area: NonNull<u8>, page: usize) -> NonNull<u64> {
    // SAFETY: the page is the area's.
    unsafe { area.byte_add(page * PAGE_SIZE) }.cast()
}

fn mapping(area: NonNull<u8>, page: usize) -> paging::Mapping {
    paging::lookup(at(area, page).as_ptr() as u64).expect("mapped")
}

/// Whether each block of the area is mapped by a 2 MiB page, to its frames.
fn huge_blocks(area: NonNull<u8>, first: &[Frame]) -> Vec<bool> {
    let is_huge = |(block, first): (usize, &Frame)| {
        let found = mapping(area, block * BLOCK_PAGES);
        assert_eq!(found.physical, first.address());
        found.level == 2
    };
    first.iter().enumerate().map(is_huge).collect()
}

/// 2 MiB frames, each by its first frame, and all frames of them.
fn take(count: usize) -> (Vec<Frame>, Vec<Frame>) {
    let first: Vec<_> = (0..count).map(|_| frames::take_huge().expect("memory enough")).collect();
    let block = |first: &Frame| (first.number()..).take(BLOCK_PAGES).map(Frame::new);
    let list = first.iter().flat_map(block).collect();
    (first, list)
}

/// Seen failing with the caller's frames mapped by 4 KiB pages.
#[test_case]
fn contiguous_frames_are_mapped_by_2_mib_pages() {
    let vmalloc = memory::vmalloc();
    let (first, list) = take(BLOCKS);
    let area = vmalloc.vmap(&list, Protection::ReadWrite).expect("room");
    assert_eq!(huge_blocks(area, &first), [true; BLOCKS]);
    for (page, frame) in list.iter().enumerate() {
        let direct = direct_map::pointer(*frame).cast::<u64>();
        // SAFETY: the frames are the test's, and the page shows one of them.
        unsafe {
            direct.write_volatile(page as u64);
            assert_eq!(at(area, page).read_volatile(), page as u64);
            at(area, page).write_volatile(!(page as u64));
            assert_eq!(direct.read_volatile(), !(page as u64));
        }
    }
    let info = vmalloc.find_area(area.as_ptr() as usize + 9 * BLOCK_SIZE).expect("mapped");
    assert_eq!((info.pages, info.huge_pages), (list.len(), list.len()));
    // From the middle of one 2 MiB page to that of the next but one.
    let protected = 2 * BLOCK_PAGES + 100..4 * BLOCK_PAGES + 7;
    let start = at(area, protected.start).cast();
    // SAFETY: nobody else uses the area.
    let done = unsafe { vmalloc.set_protection(start, protected.len() * PAGE_SIZE, Protection::ReadOnly) };
    done.expect("frames for two tables");
    for page in 0..list.len() {
        let writable = mapping(area, page).flags.contains(Flags::WRITABLE);
        assert_eq!(writable, !protected.contains(&page), "page {page}");
        // SAFETY: the page is the area's.
        assert_eq!(unsafe { at(area, page).read_volatile() }, !(page as u64));
    }
    let split = [2, 4];
    let expected: Vec<_> = (0..BLOCKS).map(|block| !split.contains(&block)).collect();
    assert_eq!(huge_blocks(area, &first), expected);
    // SAFETY: nobody uses it any more.
    unsafe { vmalloc.vunmap(area) }.expect("mapped");
    assert!(paging::lookup(area.as_ptr() as u64).is_none());
    vmalloc.vm_unmap_aliases();
    // SAFETY: taken above, and mapped nowhere any more.
    first.into_iter().for_each(|first| unsafe { frames::give_huge(first) });
}

/// Seen failing with a purge that does not flush.
#[test_case]
fn an_address_shows_the_2_mib_frame_that_it_was_mapped_to_last() {
    let vmalloc = memory::vmalloc();
    let (first, mut list) = take(2);
    for round in 0..4 {
        let area = vmalloc.vmap(&list, Protection::ReadWrite).expect("room");
        for page in [0, 5, BLOCK_PAGES - 1, BLOCK_PAGES, BLOCK_PAGES + 300] {
            // SAFETY: the frames are the test's, and the page shows one of them.
            unsafe {
                at(area, page).write_volatile(round);
                let direct = direct_map::pointer(list[page]).cast::<u64>();
                assert_eq!(direct.read_volatile(), round, "a stale translation");
            }
        }
        // SAFETY: nobody uses it any more.
        unsafe { vmalloc.vunmap(area) }.expect("mapped");
        vmalloc.vm_unmap_aliases();
        list.rotate_left(BLOCK_PAGES);
    }
    // SAFETY: taken above, and mapped nowhere any more.
    first.into_iter().for_each(|first| unsafe { frames::give_huge(first) });
}

/// The entries alone are looked at: there is no device.
#[test_case]
fn large_registers_are_mapped_by_2_mib_pages_of_their_memory_type() {
    const DEVICE: u64 = 0xe0_0000_0000;
    let vmalloc = memory::vmalloc();
    for (cache, flags) in [
        (Cache::Uncached, Flags::NO_CACHE | Flags::WRITE_THROUGH),
        (Cache::WriteCombining, Flags::WRITE_THROUGH),
        (Cache::WriteThrough, Flags::WRITE_THROUGH),
        (Cache::WriteBack, Flags::empty()),
    ] {
        let area = vmalloc.ioremap(DEVICE, BLOCK_SIZE + PAGE_SIZE, cache).expect("room");
        for (page, level) in [(0, 2), (BLOCK_PAGES - 1, 2), (BLOCK_PAGES, 1)] {
            let found = mapping(area, page);
            assert_eq!((found.level, found.physical), (level, DEVICE + (page / 512 * BLOCK_SIZE) as u64));
            assert_eq!(found.flags & (Flags::NO_CACHE | Flags::WRITE_THROUGH), flags);
            // Bit 7 of a small page's entry, which the crate x86_64 names by what it is elsewhere.
            let combines = level == 1 && cache == Cache::WriteCombining;
            assert_eq!(found.flags.contains(Flags::HUGE_PAGE), level == 2 || combines);
        }
        // SAFETY: nobody uses it.
        unsafe { vmalloc.vunmap(area) }.expect("mapped");
    }
}
