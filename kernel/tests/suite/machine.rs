//! The machine is owned: page tables, rights, stacks, exceptions, time.

use core::sync::atomic::Ordering;
use kernel::{
    arch::{cpu, layout, paging, tlb, tsc},
    memory,
};
use vmalloc::{BLOCK_SIZE, PAGE_SIZE};
use x86_64::structures::paging::PageTableFlags as Flags;

#[test_case]
fn nothing_is_writable_and_executable() {
    let mut pages = 0;
    paging::walk(|address, mapping| {
        let executable = !mapping.flags.contains(Flags::NO_EXECUTE);
        assert!(!(executable && mapping.flags.contains(Flags::WRITABLE)), "{address:#x}: {mapping:?}");
        pages += 1;
    });
    assert!(pages > 100);
}

#[test_case]
fn only_the_image_is_executable() {
    let image = layout::IMAGE_START..layout::IMAGE_START + layout::IMAGE_MAX;
    let mut code = 0;
    paging::walk(|address, mapping| {
        if !mapping.flags.contains(Flags::NO_EXECUTE) {
            assert!(image.contains(&address), "{address:#x}: {mapping:?}");
            code += 1;
        }
    });
    assert!(code > 0);
}

#[test_case]
fn the_image_has_the_rights_of_its_segments() {
    static DATA: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(1);
    static CONSTANT: [u64; 4] = [1, 2, 3, 4];
    let flags = |address: u64| paging::lookup(address).expect("mapped").flags;
    let code = flags(paging::lookup as *const () as u64);
    let data = flags(core::ptr::from_ref(&DATA) as u64);
    let constant = flags(core::ptr::from_ref(core::hint::black_box(&CONSTANT)) as u64);
    assert!(!code.intersects(Flags::WRITABLE | Flags::NO_EXECUTE));
    assert!(data.contains(Flags::WRITABLE | Flags::NO_EXECUTE));
    assert!(constant.contains(Flags::NO_EXECUTE) && !constant.contains(Flags::WRITABLE));
    assert!([code, data, constant].iter().all(|flags| flags.contains(Flags::GLOBAL)));
}

#[test_case]
fn the_lower_half_and_the_loader_are_gone() {
    paging::walk(|address, mapping| {
        assert!(address >= layout::DIRECT_MAP_START, "{address:#x}: {mapping:?}");
    });
}

#[test_case]
fn the_direct_map_shows_each_frame_at_its_place() {
    let mut pages = 0;
    paging::walk(|address, mapping| {
        if (layout::DIRECT_MAP_START..layout::DIRECT_MAP_END).contains(&address) {
            assert_eq!(mapping.physical, address - layout::DIRECT_MAP_START);
            assert!(mapping.flags.contains(Flags::WRITABLE | Flags::NO_EXECUTE | Flags::GLOBAL));
            pages += 1;
        }
    });
    assert!(pages > 0);
}

/// Filled once at boot: no CPU ever needs a fault to see a new mapping.
#[test_case]
fn the_top_level_entries_of_vmalloc_never_change() {
    let root = memory::vmalloc().stats().directories;
    assert!(root >= layout::VMALLOC.len() >> 39);
    let area = memory::vmalloc().vmalloc(3 << 30 >> 4).expect("memory enough");
    // SAFETY: allocated above, and used no more.
    unsafe { memory::vmalloc().vfree(area) }.expect("allocated");
    assert!(memory::vmalloc().stats().directories - root <= 1, "one directory for each GiB");
}

#[test_case]
fn the_stack_is_an_area_with_nothing_mapped_below() {
    let local = 0_u8;
    let stack = cpu::stack();
    assert!(stack.contains(&(core::ptr::from_ref(&local) as usize)));
    let area = memory::vmalloc().find_area(stack.start).expect("from vmalloc");
    assert_eq!((area.start, area.pages * PAGE_SIZE), (stack.start, stack.len()));
    assert!(paging::lookup(stack.start as u64 - 1).is_none());
    assert!(paging::lookup(stack.end as u64).is_none());
    let below = memory::vmalloc().find_area(stack.start - 1).expect("the page below is its own");
    assert_eq!((below.start, below.guard_below), (stack.start, 1));
}

#[test_case]
fn a_breakpoint_is_reported_and_execution_goes_on() {
    let mut value = core::hint::black_box(41_u64);
    x86_64::instructions::interrupts::int3();
    value += 1;
    assert_eq!(core::hint::black_box(value), 42);
}

#[test_case]
fn flushes_follow_the_ceiling_and_are_counted() {
    let ceiling = &memory::vmalloc().tunables().single_page_flush_ceiling;
    let before = ceiling.swap(5, Ordering::Relaxed);
    let flushed = |pages: usize| {
        let area = memory::vmalloc().vmalloc(pages * PAGE_SIZE).expect("memory enough");
        let counters = tlb::shootdown().counters(cpu::current());
        let read = || (counters.pages.load(Ordering::Relaxed), counters.full.load(Ordering::Relaxed));
        memory::vmalloc().purge();
        let start = read();
        // SAFETY: allocated above, and used no more.
        unsafe { memory::vmalloc().vfree(area) }.expect("allocated");
        assert_eq!(read(), start, "it waits");
        memory::vmalloc().purge();
        (read().0 - start.0, read().1 - start.1)
    };
    assert_eq!(flushed(4), (5, 0), "with the guard page");
    assert_eq!(flushed(5), (0, 1));
    assert_eq!(flushed(BLOCK_SIZE / PAGE_SIZE), (0, 1));
    ceiling.store(before, Ordering::Relaxed);
}

#[test_case]
fn time_passes_at_a_known_rate() {
    let start = tsc::now();
    assert!(tsc::now() >= start);
    assert!(tsc::kilohertz() > 1000, "{} kHz", tsc::kilohertz());
    assert_eq!(tsc::microseconds(tsc::kilohertz()), 1000);
}
