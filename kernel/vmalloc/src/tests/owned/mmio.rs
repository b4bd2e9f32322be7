//! Registers as values.

extern crate std;

use super::with_memory;
use crate::{AllocError, BLOCK_PAGES, BLOCK_SIZE, Cache, Frame, Kind, Mmio, volatile::map_field};
use std::{format, vec::Vec};

/// Where nothing is RAM.
const DEVICE: u64 = 0xfed0_0000;

#[repr(C)]
struct Timer {
    status: u32,
    control: u32,
    counters: [u64; 2],
}

/// Seen failing, by an area that stays, with nothing done where it is dropped.
#[test]
fn registers_are_mapped_until_they_are_dropped() {
    with_memory(1, BLOCK_PAGES, 4, |machine, vmalloc| {
        for offset in [0, 0xff0, 0xff8] {
            // SAFETY: a test's memory is there; any bits are numbers.
            let mut timer =
                unsafe { Mmio::<_, Timer>::new(vmalloc, DEVICE + offset, Cache::Uncached) }.expect("room");
            let registers = timer.as_mut_ptr();
            let start = registers.as_raw_ptr().as_ptr() as usize;
            let area = vmalloc.find_area(start).expect("mapped");
            assert_eq!((area.kind, start - area.start), (Kind::Ioremap, offset as usize));
            assert_eq!(
                (area.requested, area.pages),
                (24, if offset == 0xff0 || offset == 0xff8 { 2 } else { 1 })
            );
            assert_eq!(vmalloc.frame_at(start), Some(Frame::at(DEVICE)));
            map_field!(registers.control).write(5);
            map_field!(registers.control).update(|bits| bits | 8);
            map_field!(registers.counters).write([1, u64::MAX]);
            let registers = timer.as_ptr();
            assert_eq!(map_field!(registers.control).read(), 13);
            assert_eq!(map_field!(registers.counters).read(), [1, u64::MAX]);
            assert_eq!(format!("{timer:?}"), format!("Mmio({start:#x})"));
            drop(timer);
            assert!(vmalloc.find_area(start).is_none());
        }
        machine.check();
    });
}

#[test]
fn a_frame_buffer_is_a_slice() {
    with_memory(1, BLOCK_PAGES, 8, |machine, vmalloc| {
        let pixels = 3 * BLOCK_SIZE / 4;
        // SAFETY: a test's memory is there; any bits are numbers.
        let buffer = unsafe { Mmio::<_, [u32]>::new_slice(vmalloc, 1 << 32, pixels, Cache::WriteCombining) };
        let mut buffer = buffer.expect("room");
        let bytes = buffer.as_mut_ptr().as_raw_ptr();
        assert_eq!(bytes.len(), pixels);
        let found = machine.translation(bytes.as_ptr() as *mut u32 as usize).expect("mapped");
        assert!(found.huge && found.cache == 5, "{found:?}");
        // SAFETY: none is there.
        let none = unsafe { Mmio::<_, [u32]>::new_slice(vmalloc, 1 << 32, 0, Cache::Uncached) };
        assert!(matches!(none, Err(AllocError::ZeroSize)));
        // SAFETY: as above.
        let large = unsafe { Mmio::<_, [u32]>::new_slice(vmalloc, 0, usize::MAX, Cache::Uncached) };
        assert!(matches!(large, Err(AllocError::BadPhysicalRange { .. })));
    });
}

/// A handler cannot unmap, and a test may not leave anything: it unmaps the registers itself.
#[test]
fn dropped_in_an_interrupt_handler_they_stay_mapped() {
    with_memory(1, BLOCK_PAGES, 4, |machine, vmalloc| {
        // SAFETY: a test's memory is there; any bits are numbers.
        let timer = unsafe { Mmio::<_, Timer>::new(vmalloc, DEVICE, Cache::Uncached) }.expect("room");
        machine.set_interrupt(true);
        drop(timer);
        machine.set_interrupt(false);
        let left: Vec<_> = vmalloc.areas().map(|area| area.start).collect();
        assert_eq!(left.len(), 1);
        // SAFETY: nobody uses it any more.
        unsafe { vmalloc.vunmap(core::ptr::NonNull::new(left[0] as *mut u8).expect("not null")) }
            .expect("mapped");
    });
}
