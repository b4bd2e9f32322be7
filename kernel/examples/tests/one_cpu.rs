//! A kernel on one CPU that the crate `bootloader` starts. It has a frame allocator that cannot free, and takes the library.
#![no_std]
#![no_main]

use bootloader_api::{BootInfo, BootloaderConfig, config::Mapping, info::MemoryRegionKind};
use core::ops::Range;
use spin::Once;
use vmalloc::Vmalloc;
use vmalloc::adapters::{Machine, Memory, NeverFreeing};
use x86_64::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, PhysFrame, Size4KiB};
examples::example!("one_cpu_with_a_frame_allocator_that_cannot_free");

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
// glue: end
fn start(info: &'static mut BootInfo) -> ! {
    examples::begin(TEST);
    let offset = info.physical_memory_offset.into_option().expect("asked for");
    let usable = info.memory_regions.iter().filter(|region| region.kind == MemoryRegionKind::Usable);
    let usable = usable.map(|region| region.start..region.end);
    let largest = usable.clone().max_by_key(|range| range.end - range.start).expect("memory");
    let frames = NeverFreeing(Frames(largest.start >> 12..largest.end >> 12));
    // glue: begin
    // SAFETY: one CPU runs, without threads and interrupts; the loader shows all memory at the offset, and its tables stay.
    let machine = unsafe { Machine::one_cpu(Memory::new(offset, usable), frames) }
        .expect("a CPU as the loader leaves it");
    // SAFETY: the loader maps nothing there.
    let vmalloc = unsafe { Vmalloc::new(machine, 0xffff_d000_0000_0000..0xffff_d010_0000_0000) };
    let vmalloc = VMALLOC.call_once(|| vmalloc.expect("memory enough"));
    // glue: end
    // More than there is, a quarter at a time: the machine keeps what the allocator does not take back.
    let size = (largest.end - largest.start) as usize / 4;
    for _ in 0..8 {
        let area = vmalloc.vmalloc(size).expect("memory enough");
        // SAFETY: the area is this long, and freed here.
        unsafe {
            area.add(size - 1).write(1);
            vmalloc.vfree(area).expect("allocated");
        }
        vmalloc.trim();
    }
    examples::passed()
}
