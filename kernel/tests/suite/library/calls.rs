//! The calls beside `vmalloc` and `vfree`, on real page tables.

use alloc::vec::Vec;
use core::ptr::NonNull;
use kernel::{
    arch::paging::{self, direct_map},
    memory::{self, frames},
    services,
};
use vmalloc::{BLOCK_SIZE, Frame, FreeError, PAGE_SIZE, Protection, Request, VBox, VVec};
use x86_64::structures::paging::PageTableFlags as Flags;

fn flags(area: NonNull<u8>) -> Flags {
    paging::lookup(area.as_ptr() as u64).expect("mapped").flags
}

fn read(area: NonNull<u8>, offset: usize) -> u8 {
    // SAFETY: callers stay inside an area that is theirs.
    unsafe { area.byte_add(offset).read_volatile() }
}

fn write(area: NonNull<u8>, offset: usize, value: u8) {
    // SAFETY: callers stay inside an area that is theirs.
    unsafe { area.byte_add(offset).write_volatile(value) };
}

fn free(area: NonNull<u8>) {
    // SAFETY: tests free what they allocated, and use it no more.
    unsafe { memory::vmalloc().vfree(area) }.expect("allocated");
}

fn unmap(area: NonNull<u8>) {
    // SAFETY: tests unmap what they mapped, and use it no more.
    unsafe { memory::vmalloc().vunmap(area) }.expect("mapped");
}

fn resize(area: NonNull<u8>, bytes: usize) -> NonNull<u8> {
    // SAFETY: the test goes on with the result alone.
    unsafe { memory::vmalloc().vrealloc(area, bytes) }.expect("memory enough")
}

#[test_case]
fn vmap_shows_frames_in_the_order_given() {
    let mut taken: Vec<Frame> = Vec::with_capacity(40);
    frames::take(40, |frame| taken.push(frame));
    taken.reverse();
    let area = memory::vmalloc().vmap(&taken, Protection::ReadWrite).expect("room");
    for (page, &frame) in taken.iter().enumerate() {
        write(area, page * PAGE_SIZE, page as u8 + 1);
        assert_eq!(read(direct_map::pointer(frame), 0), page as u8 + 1);
    }
    // SAFETY: refused.
    let refused = unsafe { memory::vmalloc().vfree(area) };
    assert!(matches!(refused, Err(FreeError::WrongKind { .. })));
    unmap(area);
    assert!(paging::lookup(area.as_ptr() as u64).is_none());
    // SAFETY: the test took what it gives back, and uses it no more.
    unsafe { frames::give(taken.into_iter()) };
}

#[test_case]
fn one_frame_may_be_mapped_more_than_once() {
    let frame = frames::take_table().expect("a frame");
    let area = memory::vmalloc().vmap(&[frame; 3], Protection::ReadWrite).expect("room");
    write(area, 7, 42);
    assert_eq!([read(area, PAGE_SIZE + 7), read(area, 2 * PAGE_SIZE + 7)], [42, 42]);
    unmap(area);
    // SAFETY: the test took what it gives back, and uses it no more.
    unsafe { frames::give(core::iter::once(frame)) };
}

#[test_case]
fn code_is_written_then_executed_and_never_both() {
    // mov eax, 42; ret
    const CODE: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];
    let area = memory::vmalloc().vmalloc(PAGE_SIZE).expect("memory enough");
    CODE.iter().enumerate().for_each(|(offset, &byte)| write(area, offset, byte));
    // SAFETY: the page holds code, and nobody writes it any more.
    unsafe { memory::vmalloc().set_protection(area, PAGE_SIZE, Protection::ReadExecute) }.expect("allocated");
    assert!(!flags(area).intersects(Flags::WRITABLE | Flags::NO_EXECUTE));
    // SAFETY: the page holds a function of this type, of the C calling convention.
    let function: extern "C" fn() -> u32 = unsafe { core::mem::transmute(area.as_ptr()) };
    assert_eq!(function(), 42);
    free(area);
    let again = memory::vmalloc().vmalloc(PAGE_SIZE).expect("memory enough");
    assert!(flags(again).contains(Flags::WRITABLE | Flags::NO_EXECUTE), "nothing stays behind");
    free(again);
}

#[test_case]
fn read_only_areas_are_read_only() {
    let request = Request::new(600 * PAGE_SIZE).protection(Protection::ReadOnly).zeroed();
    let area = memory::vmalloc().allocate(request).expect("memory enough");
    assert!(!flags(area).contains(Flags::WRITABLE) && flags(area).contains(Flags::NO_EXECUTE));
    assert_eq!(read(area, 600 * PAGE_SIZE - 1), 0);
    free(area);
}

#[test_case]
fn realloc_moves_entries_and_keeps_every_byte() {
    let mut area = memory::vmalloc().vmalloc(1).expect("memory enough");
    let mut pages = 1;
    write(area, 0, 97);
    for (step, new) in [4, 1, 90, 700, 1500, 600, 512, 30, 2].into_iter().enumerate() {
        let held = memory::vmalloc().vmalloc(PAGE_SIZE).expect("memory enough");
        area = resize(area, new * PAGE_SIZE);
        for page in 1..pages.min(new) {
            assert_eq!(read(area, page * PAGE_SIZE + page % 7), (page + step) as u8);
        }
        assert_eq!(read(area, 0), 97);
        (1..new).for_each(|page| write(area, page * PAGE_SIZE + page % 7, (page + step + 1) as u8));
        pages = new;
        free(held);
    }
    free(area);
}

#[test_case]
fn huge_areas_shrink_to_small_pages() {
    let area = memory::vmalloc().allocate(Request::new(2 * BLOCK_SIZE).huge()).expect("memory enough");
    (0..1024).for_each(|page| write(area, page * PAGE_SIZE, page as u8));
    let area = resize(area, 700 * PAGE_SIZE);
    let level =
        |page: usize| paging::lookup((area.as_ptr() as usize + page * PAGE_SIZE) as u64).map(|m| m.level);
    assert_eq!([level(0), level(512), level(700)], [Some(2), Some(1), None]);
    (0..700).for_each(|page| assert_eq!(read(area, page * PAGE_SIZE), page as u8));
    free(area);
}

#[test_case]
fn boxes_and_vectors_have_areas_of_their_own() {
    let boxed = VBox::new_in([7_u64; 1000], memory::vmalloc());
    let area = memory::vmalloc().find_area(core::ptr::from_ref(&*boxed) as usize).expect("an area");
    assert_eq!((area.pages, area.requested), (2, 8000));
    assert!(boxed.iter().all(|&word| word == 7));
    let mut vector = VVec::new_in(memory::vmalloc());
    (0..300_000_u64).for_each(|value| vector.push(value));
    assert!(vector.iter().copied().eq(0..300_000));
    vector.truncate(10);
    vector.shrink_to_fit();
    let area = memory::vmalloc().find_area(vector.as_ptr() as usize).expect("an area");
    assert_eq!((area.pages, area.requested), (1, 80));
    assert!(vector.iter().copied().eq(0..10));
}

#[test_case]
fn vectors_of_nothing_take_nothing() {
    let areas = memory::vmalloc().areas().count();
    let vector: VVec<'_, u64, _> = VVec::new_in(memory::vmalloc());
    let unit = VBox::new_in((), memory::vmalloc());
    assert_eq!(memory::vmalloc().areas().count(), areas);
    drop((vector, unit));
}

/// And leaves no tables and records behind that were made for it in vain (tried: without the check of
/// `Platform::total_frames` thousands stay).
#[test_case]
fn too_large_a_vector_is_an_error() {
    let before = services::users();
    let mut vector: VVec<'_, u8, _> = VVec::new_in(memory::vmalloc());
    assert!(vector.try_reserve(1 << 44).is_err());
    vector.push(1);
    assert!(vector.try_reserve(1 << 44).is_err());
    assert_eq!(vector.as_slice(), [1]);
    drop(vector);
    let after = services::users();
    assert!(after.records + after.page_tables <= before.records + before.page_tables + 4);
}

#[test_case]
fn vread_never_faults() {
    let area = memory::vmalloc().vmalloc(2 * PAGE_SIZE).expect("memory enough");
    (0..2 * PAGE_SIZE).for_each(|offset| write(area, offset, offset as u8));
    let mut bytes = alloc::vec![9_u8; 4 * PAGE_SIZE];
    let start = area.as_ptr() as usize;
    assert_eq!(memory::vmalloc().vread(start + 100, &mut bytes[..3 * PAGE_SIZE - 100]), 2 * PAGE_SIZE - 100);
    let expected = |offset: usize| if offset + 100 < 2 * PAGE_SIZE { (offset + 100) as u8 } else { 0 };
    assert!(bytes[..3 * PAGE_SIZE - 100].iter().enumerate().all(|(offset, &byte)| byte == expected(offset)));
    free(area);
    assert_eq!(memory::vmalloc().vread(start, &mut bytes[..PAGE_SIZE]), 0, "freed");
    assert_eq!(memory::vmalloc().vread(usize::MAX - 10, &mut bytes[..100]), 0, "wraps, and is no memory");
}

#[test_case]
fn areas_stay_inside_the_range_asked_for() {
    let start = memory::vmalloc().range().start + (5 << 40);
    let area = memory::vmalloc().allocate(Request::new(PAGE_SIZE).within(start, start + BLOCK_SIZE));
    let area = area.expect("room");
    assert_eq!(area.as_ptr() as usize, start);
    write(area, 0, 1);
    free(area);
}
