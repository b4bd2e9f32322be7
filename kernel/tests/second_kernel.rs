//! Another kernel on the vmalloc library: it shares nothing with this project's, not even page tables
//! of its own. What the library asks of a machine is the part marked as glue; all else is the trait's defaults, which do
//! for one CPU without threads.
#![no_std]
#![no_main]

use bootloader_api::{BootInfo, BootloaderConfig, config::Mapping, info::MemoryRegionKind};
use core::{
    alloc::{GlobalAlloc, Layout},
    fmt::Write,
    ops::Range,
    ptr::NonNull,
};
use protocol::{EXIT_PORT, Exit, Record};
use raw_cpuid::CpuId;
use spin::mutex::SpinMutex;
use uart_16550::{Config, Uart16550Tty};
use vmalloc::{
    AllocError, BLOCK_SIZE, Flusher, Frame, PAGE_SIZE, Platform, Request, Returned, Shootdown, SingleCpu,
    Vmalloc, check,
};
use x86_64::{
    VirtAddr,
    instructions::{port::Port, tlb},
    registers::control::Cr3,
};

protocol::test_kernel!("another_kernel_uses_the_library");

// --- glue ---------------------------------------------------------------------------------------

/// One CPU, on the loader's page tables.
struct Machine {
    frames: Frames,
    shootdown: Shootdown,
}

// SAFETY: frames come from memory that the loader says nobody uses, each once until given back; the
// loader maps all memory at `direct_map`, and so what is RAM; nobody else changes page tables; no other CPU runs,
// nothing preempts, and no interrupt handler calls the library.
unsafe impl Platform for &Machine {
    type Pin = SingleCpu;

    fn pin(&self) -> SingleCpu {
        SingleCpu
    }
    fn root(&self) -> Frame {
        Frame::new(Cr3::read().0.start_address().as_u64() / PAGE_SIZE as u64)
    }
    fn total_frames(&self) -> usize {
        self.frames.all.clone().count()
    }
    fn in_interrupt(&self) -> bool {
        // No handler calls the library: none is installed.
        false
    }
    fn take_frames(&self, count: usize, mut sink: impl FnMut(Frame)) -> usize {
        (0..count).map_while(|_| self.frames.take().map(&mut sink)).count()
    }
    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        frames.into_iter().for_each(|frame| self.frames.give(frame));
    }
    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        self.frames.bytes(frame)
    }
    fn is_ram(&self, frame: Frame) -> bool {
        self.frames.all.contains(&frame.number())
    }
    fn physical_bits(&self) -> u32 {
        let capacities = CpuId::new().get_processor_capacity_feature_info().expect("x86-64");
        capacities.physical_address_bits().into()
    }
    fn frame_of(&self, direct: NonNull<u8>) -> Frame {
        Frame::new((direct.as_ptr() as u64 - self.frames.direct_map) / PAGE_SIZE as u64)
    }
    fn shootdown(&self) -> &Shootdown {
        &self.shootdown
    }
}

// SAFETY: there is one CPU, which flushes itself; nothing interrupts it.
unsafe impl Flusher for &Machine {
    fn here(&self) -> usize {
        0
    }
    fn flush_page(&self, address: usize) {
        tlb::flush(VirtAddr::new(address as u64));
    }
    fn flush_all(&self) {
        tlb::flush_all();
    }
}

// --- the kernel ---------------------------------------------------------------------------------

/// The largest piece of memory.
struct Frames {
    /// Where the loader shows frame 0.
    direct_map: u64,
    all: Range<u64>,
    /// Frames never used, and the last of those given back; each holds the number of the one before.
    free: SpinMutex<(Range<u64>, u64)>,
}

impl Frames {
    fn bytes(&self, frame: Frame) -> NonNull<u8> {
        NonNull::new((self.direct_map + frame.address()) as *mut u8).expect("not at zero")
    }

    fn take(&self) -> Option<Frame> {
        let mut free = self.free.lock();
        let given_back = free.1;
        if given_back == 0 {
            return free.0.next().map(Frame::new);
        }
        // SAFETY: a frame given back holds the number of the one before.
        free.1 = unsafe { self.bytes(Frame::new(given_back)).cast::<u64>().read() };
        Some(Frame::new(given_back))
    }

    fn give(&self, frame: Frame) {
        let mut free = self.free.lock();
        // SAFETY: nobody uses a frame that was given back.
        unsafe { self.bytes(frame).cast::<u64>().write(free.1) };
        free.1 = frame.number();
    }
}

static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::Dynamic);
    config.kernel_stack_size = 512 << 10;
    config
};
bootloader_api::entry_point!(start, config = &CONFIG);

fn start(info: &'static mut BootInfo) -> ! {
    x86_64::instructions::interrupts::disable();
    let usable = info.memory_regions.iter().filter(|region| region.kind == MemoryRegionKind::Usable);
    let largest = usable.max_by_key(|region| region.end - region.start).expect("memory");
    let page = PAGE_SIZE as u64;
    let frames = largest.start.div_ceil(page)..largest.end / page;
    let all = (frames.end - frames.start) as usize * PAGE_SIZE;
    let direct_map = info.physical_memory_offset.into_option().expect("asked for");
    let frames = Frames { direct_map, all: frames.clone(), free: SpinMutex::new((frames, 0)) };
    let machine = Machine { frames, shootdown: Shootdown::new(&[]) };
    // SAFETY: there is no instance yet.
    unsafe { machine.shootdown.set_online(&&machine, false) };
    say(Record::Tests { count: 1 });
    say(Record::Test { name: TEST });
    let range = 0xffff_d000_0000_0000..0xffff_d000_0000_0000 + (2 * all).next_multiple_of(BLOCK_SIZE);
    // SAFETY: this is a kernel, and the loader maps nothing there.
    let checked = unsafe { check::platform(&&machine, range.clone(), |_| ()) };
    let report = checked.expect("the glue is right");
    assert!(report.frames > 30 && report.online.count() == 1, "{report}");
    // SAFETY: as above.
    let vmalloc = unsafe { Vmalloc::new(&machine, range) }.expect("memory enough");
    for pages in [1, 3, 511, 512, 2000] {
        let area = vmalloc.allocate(Request::new(pages * PAGE_SIZE).zeroed()).expect("memory enough");
        let words = pages * PAGE_SIZE / 8;
        // SAFETY: the area is ours, this long, and zeroed.
        let memory = unsafe { core::slice::from_raw_parts_mut(area.cast::<u64>().as_ptr(), words) };
        assert!(memory.iter().all(|&word| word == 0));
        memory.iter_mut().enumerate().for_each(|(index, word)| *word = index as u64);
        assert!(memory.iter().enumerate().all(|(index, &word)| word == index as u64));
        // SAFETY: nobody uses the area any more.
        unsafe { vmalloc.vfree(area) }.expect("allocated");
    }
    // More than there is, which the library is not told. Once it was not answered in 300 s, after over 1400 attempts.
    let before = vmalloc.tally();
    assert!(matches!(vmalloc.vmalloc(all), Err(AllocError::OutOfFrames { .. })));
    let after = vmalloc.tally();
    assert!(after.retries - before.retries <= 3 && after.purges - before.purges <= 3, "{before:?} {after:?}");
    vmalloc.trim();
    assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
    say(Record::Passed);
    say(Record::TestsDone { passed: 1 });
    exit(Exit::Success)
}

fn say(record: Record<'_>) {
    // SAFETY: COM1, which nobody else uses.
    let serial = unsafe { Uart16550Tty::new_port(0x3f8, Config::default()) };
    writeln!(serial.expect("a serial port"), "{record}").expect("cannot fail");
}

fn exit(why: Exit) -> ! {
    // SAFETY: the port of QEMU's exit device.
    unsafe { Port::new(EXIT_PORT).write(why as u32) };
    loop {
        x86_64::instructions::hlt();
    }
}

/// There is no heap. The library needs none; its collections, which this project's kernel turns on
/// for all its tests, ask for an allocator to link.
struct NoHeap;

#[global_allocator]
static NO_HEAP: NoHeap = NoHeap;

// SAFETY: it gives no memory out.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    say(Record::Panic);
    exit(Exit::Panic)
}
