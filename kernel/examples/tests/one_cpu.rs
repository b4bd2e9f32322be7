//! A kernel on one CPU that the crate `bootloader` starts: its frame allocator, which cannot free, is all that it has. The
//! library gives it a heap, and a stack with guard pages.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::vec::Vec;
use bootloader_api::{BootInfo, BootloaderConfig, config::Mapping, info::MemoryRegionKind};
use core::ops::Range;
use spin::Once;
use vmalloc::adapters::{Machine, Memory, NeverFreeing};
use vmalloc::{Heap, Stack, Vmalloc};
use x86_64::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, PhysFrame, Size4KiB};
examples::example!("one_cpu_gets_a_heap_and_a_stack");

/// The kernel's frame allocator: frames of one piece of memory, by their numbers, each once.
struct Frames(Range<u64>);
// SAFETY: each frame is given once, and the loader says that nobody uses it.
unsafe impl FrameAllocator<Size4KiB> for Frames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        self.0.next().map(|number| PhysFrame::containing_address(PhysAddr::new(number << 12)))
    }
}

static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::Dynamic);
    config
};
bootloader_api::entry_point!(start, config = &CONFIG);
// glue: begin
static VMALLOC: Once<Vmalloc<Machine<NeverFreeing<Frames>>>> = Once::new();
#[global_allocator]
static HEAP: Heap<Machine<NeverFreeing<Frames>>> = Heap::new(|| VMALLOC.get());
// glue: end
fn start(info: &'static mut BootInfo) -> ! {
    examples::begin(TEST);
    let offset = info.physical_memory_offset.into_option().expect("asked for");
    let usable = info.memory_regions.iter().filter(|region| region.kind == MemoryRegionKind::Usable);
    let usable = usable.map(|region| region.start..region.end);
    let largest = usable.clone().max_by_key(|range| range.end - range.start).expect("memory");
    let frames = NeverFreeing(Frames(largest.start >> 12..largest.end >> 12));
    // glue: begin
    // SAFETY: one CPU runs, without interrupts, on the loader's tables, which show all memory at the offset and stay.
    let machine = unsafe { Machine::one_cpu(Memory::new(offset, usable), frames) }.expect("a CPU set up");
    // SAFETY: the loader maps nothing there.
    let vmalloc = unsafe { Vmalloc::new(machine, 0xffff_d000_0000_0000..0xffff_d010_0000_0000) };
    let stack = Stack::new(VMALLOC.call_once(|| vmalloc.expect("memory")), 64 << 10).expect("memory");
    // glue: end
    // SAFETY: the stack is never dropped.
    unsafe { examples::go_on_at(stack.top(), on_stack) }
}
extern "C" fn on_stack() -> ! {
    // More than there is: what is freed is used again.
    let squares = |count: u64| -> u64 { (0..count).map(|n| n * n).collect::<Vec<_>>().iter().sum() };
    assert!((0..200).all(|_| squares(1_000_000) == 333_332_833_333_500_000));
    examples::passed()
}
