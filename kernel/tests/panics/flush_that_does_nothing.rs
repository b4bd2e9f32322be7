//! A machine whose `flush_page` does nothing is named by the library's self-check, on real page tables: the emulator keeps
//! stale translations.
#![no_std]
#![no_main]

use core::ptr::NonNull;
use kernel::{
    arch::{cpu::Pin, layout},
    memory::{self, Machine},
};
use vmalloc::{CpuSet, Flusher, Frame, Platform, Returned, Shootdown, check};

protocol::test_kernel!("a_flush_that_does_nothing_is_named");
kernel::entry!(main);

fn main() -> ! {
    let text = "promise 2 of Flusher, that flush_page, flush_all and broadcast make CPUs forget what they say; \
                after flush_page(), CPU 0 reads frame 0x";
    kernel::testing::expect_panic(TEST, text);
    let wrong = Wrong(*memory::vmalloc().platform());
    // SAFETY: this is a kernel, and no experiment is under way.
    if let Err(broken) = unsafe { check::platform(&wrong, layout::EXPERIMENTS, |_| ()) } {
        panic!("{broken}");
    }
    kernel::drivers::power::exit(protocol::Exit::Failure);
}

/// The kernel's machine, but for one flush.
struct Wrong(Machine);

// SAFETY: as the kernel's machine, but wrong on purpose: nothing is mapped by it but by the check.
unsafe impl Platform for Wrong {
    type Pin = Pin;

    fn pin(&self) -> Pin {
        self.0.pin()
    }
    fn root(&self) -> Frame {
        self.0.root()
    }
    fn total_frames(&self) -> usize {
        self.0.total_frames()
    }
    fn take_frames(&self, count: usize, sink: impl FnMut(Frame)) -> usize {
        self.0.take_frames(count, sink)
    }
    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        self.0.give_frames(frames);
    }
    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        self.0.direct_map(frame)
    }
    fn is_ram(&self, frame: Frame) -> bool {
        self.0.is_ram(frame)
    }
    fn physical_bits(&self) -> u32 {
        self.0.physical_bits()
    }
    fn frame_of(&self, direct: NonNull<u8>) -> Frame {
        self.0.frame_of(direct)
    }
    fn shootdown(&self) -> &Shootdown {
        self.0.shootdown()
    }
    fn in_interrupt(&self) -> bool {
        self.0.in_interrupt()
    }
}

// SAFETY: as above.
unsafe impl Flusher for Wrong {
    fn here(&self) -> usize {
        self.0.here()
    }
    fn flush_page(&self, _: usize) {}
    fn flush_all(&self) {
        self.0.flush_all();
    }
    fn interrupt(&self, cpus: CpuSet) {
        self.0.interrupt(cpus);
    }
    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        self.0.wait(cpu, done);
    }
    fn uninterrupted(&self, serve: impl FnOnce()) {
        self.0.uninterrupted(serve);
    }
}
