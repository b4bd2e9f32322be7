//! A kernel on one CPU that GRUB starts by the Multiboot2 protocol. It sees memory at its own addresses, its frame
//! allocator frees, and is given as two functions.
#![no_std]
#![no_main]

mod start;

use core::ops::Range;
use multiboot2::{BootInformation, BootInformationHeader, MemoryAreaType};
use spin::Once;
use spin::mutex::SpinMutex;
use vmalloc::adapters::{Machine, Memory};
use vmalloc::{Frame, PAGE_SIZE, Platform, Vmalloc};

examples::example!("a_kernel_that_grub_starts");

unsafe extern "C" {
    static kernel_end: u8;
}

/// The kernel's frame allocator: frames of one piece of memory, by their numbers, and those freed last, as many as it has
/// room for.
struct Frames {
    fresh: Range<u64>,
    freed: [u64; 1000],
    count: usize,
}

static FRAMES: SpinMutex<Frames> = SpinMutex::new(Frames { fresh: 0..0, freed: [0; 1000], count: 0 });

impl Frames {
    fn take(&mut self) -> Option<u64> {
        match self.count {
            0 => self.fresh.next(),
            _ => {
                self.count -= 1;
                Some(self.freed[self.count])
            }
        }
    }

    /// Returns whether there was room.
    fn give(&mut self, frame: u64) -> bool {
        let has_room = self.count < self.freed.len();
        if has_room {
            self.freed[self.count] = frame;
            self.count += 1;
        }
        has_room
    }
}

// glue: begin
/// How the kernel takes a frame, and gives one back.
type Functions = (fn() -> Option<Frame>, fn(Frame) -> bool);
static VMALLOC: Once<Vmalloc<Machine<Functions>>> = Once::new();
// glue: end

extern "C" fn kernel(info: *const BootInformationHeader) -> ! {
    examples::begin(TEST);
    // SAFETY: GRUB gave the address, and nothing was written since.
    let info = unsafe { BootInformation::load(info) }.expect("what GRUB tells");
    let areas = info.memory_map_tag().expect("a memory map").memory_areas().iter();
    let areas = areas.filter(|area| area.typ() == MemoryAreaType::Available);
    // Behind the kernel, and as far as it sees. What GRUB tells lies there, too: it is not read once frames are given.
    let from = &raw const kernel_end as u64;
    let usable = areas.map(|area| area.start_address().max(from)..area.end_address().min(start::SEEN));
    let largest = usable.clone().max_by_key(|range| range.end.saturating_sub(range.start)).expect("memory");
    FRAMES.lock().fresh = largest.start.div_ceil(PAGE_SIZE as u64)..largest.end / PAGE_SIZE as u64;
    // glue: begin
    // Nothing interrupts who holds the lock.
    let functions: Functions =
        (|| FRAMES.lock().take().map(Frame::new), |frame| FRAMES.lock().give(frame.number()));
    // SAFETY: one CPU runs, without threads and interrupts, and sees memory at its own addresses in tables that stay; the
    // lowest frame given is behind the kernel.
    let machine =
        unsafe { Machine::one_cpu(Memory::new(0, usable), functions) }.expect("a CPU as `start` left it");
    // SAFETY: nothing is mapped in the upper half.
    let vmalloc = unsafe { Vmalloc::new(machine, 0xffff_d000_0000_0000..0xffff_d010_0000_0000) };
    let vmalloc = VMALLOC.call_once(|| vmalloc.expect("memory enough"));
    // glue: end

    let free = vmalloc.platform().free_frames();
    for pages in (1..40).map(|index| index * index) {
        let area = vmalloc.vzalloc(pages * PAGE_SIZE).expect("memory enough").cast::<u64>();
        let words = pages * PAGE_SIZE / 8;
        // SAFETY: the area is this long, zeroed, and freed below.
        let memory = unsafe { core::slice::from_raw_parts_mut(area.as_ptr(), words) };
        assert!(memory.iter().all(|&word| word == 0));
        memory.fill(!0);
        // SAFETY: the memory is not used any more.
        unsafe { vmalloc.vfree(area.cast()) }.expect("allocated");
    }
    vmalloc.trim();
    // But for some tables, which stay.
    assert!(vmalloc.platform().free_frames() + 8 >= free);
    examples::passed()
}
