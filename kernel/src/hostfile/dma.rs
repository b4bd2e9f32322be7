//! Memory that a virtio device reads and writes.

use crate::{
    arch::paging::{self, direct_map},
    memory::{self, frames},
};
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};
use vmalloc::{Cache, Frame, PAGE_SIZE};

/// What the driver asks for memory.
pub struct Dma;

// SAFETY: frames are taken for the driver alone and are seen in the direct map; registers are mapped for the driver alone;
// the device sees memory by its physical addresses, and keeps caches coherent as those of PCs do.
unsafe impl Hal for Dma {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let Some(first) = frames::take_run(pages) else { panic!("no {pages} frames for a virtio device") };
        let pointer = direct_map::pointer(first);
        // SAFETY: the frames were taken just now.
        unsafe { pointer.write_bytes(0, pages * PAGE_SIZE) };
        (first.address(), pointer)
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, _: NonNull<u8>, pages: usize) -> i32 {
        let first = paddr / PAGE_SIZE as u64;
        // SAFETY: `dma_alloc` took them, and the driver's promise is that nobody uses them.
        unsafe { frames::give((first..first + pages as u64).map(Frame::new)) };
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        match memory::vmalloc().ioremap(paddr, size, Cache::Uncached) {
            Ok(registers) => registers,
            Err(error) => panic!("the registers of a virtio device cannot be mapped: {error}"),
        }
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        let start = buffer.cast::<u8>().as_ptr() as u64;
        let last = start + buffer.len() as u64 - 1;
        match (paging::physical(start), paging::physical(last)) {
            (Some(first), Some(end)) if end - first == last - start => first,
            _ => panic!("{start:#x}: what a virtio device is to use is not contiguous"),
        }
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
