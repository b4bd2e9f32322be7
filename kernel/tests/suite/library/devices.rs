//! Physical addresses that are no memory, or no address of this machine's.

use core::iter;
use kernel::{
    arch::{cpu, paging::direct_map},
    memory::{self, frames},
};
use vmalloc::{AllocError, BLOCK_PAGES, Cache, Frame, PAGE_SIZE, Protection};

/// The local APICs' registers, and the last page that the CPUs can address.
fn no_memory() -> [Frame; 2] {
    [Frame::new(0xfee00), Frame::new((1 << (cpu::physical_bits() - 12)) - 1)]
}

/// Seen failing, by a page fault of the kernel, with areas of `ioremap` alone left out.
#[test_case]
fn what_is_no_memory_is_mapped_and_not_read() {
    let vmalloc = memory::vmalloc();
    let ram = frames::take_table().expect("a frame");
    for other in no_memory() {
        assert!(!direct_map::shows(other) && direct_map::shows(ram));
        let mut bytes = [1; 3 * PAGE_SIZE];
        let area = vmalloc.vmap(&[other, ram, other], Protection::ReadWrite).expect("room");
        assert_eq!(vmalloc.vread(area.as_ptr() as usize, &mut bytes), PAGE_SIZE);
        assert!(bytes.iter().all(|&byte| byte == 0));
        // SAFETY: nobody uses it.
        unsafe { vmalloc.vunmap(area) }.expect("mapped");
        let area = vmalloc.vm_map_ram(&[ram, other], Protection::ReadWrite).expect("room");
        assert_eq!(vmalloc.vread(area.as_ptr() as usize, &mut bytes), PAGE_SIZE);
        // SAFETY: nobody uses it.
        unsafe { vmalloc.vm_unmap_ram(area, 2) }.expect("mapped");
    }
    vmalloc.vm_unmap_aliases();
    // SAFETY: taken above, and mapped nowhere any more.
    unsafe { frames::give(iter::once(ram)) };
}

/// All that the frame allocator has is shown, which is the least that must be.
#[test_case]
fn the_direct_map_shows_what_is_allocated() {
    let mut taken = alloc::vec::Vec::with_capacity(2 * BLOCK_PAGES);
    frames::take(2 * BLOCK_PAGES, |frame| taken.push(frame));
    assert!(taken.iter().all(|&frame| direct_map::shows(frame)));
    // SAFETY: taken above, and mapped nowhere any more.
    unsafe { frames::give(taken.into_iter()) };
    assert!(!direct_map::shows(Frame::new((1 << 40) - 1)), "beyond the direct map's range");
}

/// Seen failing with any of the three accepted, as `ioremap(1 << 44)` was at 40 bits.
#[test_case]
fn what_this_machine_cannot_map_is_refused() {
    let vmalloc = memory::vmalloc();
    let bits = cpu::physical_bits();
    assert!((36..=52).contains(&bits), "{bits} bits");
    for start in [1 << bits, (1 << bits) - 4, 1 << 51] {
        let refused = AllocError::BadPhysicalRange { start, size: 8 };
        assert_eq!(vmalloc.ioremap(start, 8, Cache::Uncached), Err(refused));
    }
    if bits < 52 {
        let frame = Frame::new(1 << (bits - 12));
        let refused = Err(AllocError::BadFrame { frame });
        assert_eq!(vmalloc.vmap(&[frame], Protection::ReadWrite), refused);
        assert_eq!(vmalloc.vm_map_ram(&[frame], Protection::ReadWrite), refused);
    }
    let frame = frames::take_table().expect("a frame");
    let refused = Err(AllocError::CachedElsewhere { frame });
    assert_eq!(vmalloc.ioremap(frame.address(), PAGE_SIZE, Cache::Uncached), refused);
    // SAFETY: taken above, and mapped nowhere any more.
    unsafe { frames::give(iter::once(frame)) };
}
