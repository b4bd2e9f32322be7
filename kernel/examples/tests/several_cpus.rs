//! A kernel on several CPUs that the crate `bootloader` starts: each allocates and frees, and all forget what one unmapped.
#![no_std]
#![no_main]
#![feature(abi_x86_interrupt)]

use bootloader_api::{BootInfo, BootloaderConfig, config::Mapping, info::MemoryRegionKind};
use core::hint::spin_loop;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use examples::smp;
use spin::Once;
use vmalloc::adapters::{Cpus, Machine, Memory, NeverFreeing};
use vmalloc::{BLOCK_PAGES, Cache, CpuSet, PAGE_SIZE, Platform, Protection, Request, TlbState, Vmalloc};
use x86_64::PhysAddr;
use x86_64::instructions::interrupts;
use x86_64::structures::idt::{InterruptDescriptorTable, InterruptStackFrame};
use x86_64::structures::paging::{FrameAllocator, PhysFrame, Size4KiB};

examples::example!("several_cpus_flush_when_one_frees");

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
    config.mappings.dynamic_range_start = Some(0xffff_8000_0000_0000);
    config
};
bootloader_api::entry_point!(start, config = &CONFIG);

// glue: begin
static VMALLOC: Once<Vmalloc<Machine<NeverFreeing<Frames>, Apic>>> = Once::new();
static OTHERS: [TlbState; 7] = [const { TlbState::new() }; 7];
const FLUSH: u8 = 0x40;

/// The CPUs, which interrupt each other by their local APICs.
struct Apic;

impl Cpus for Apic {
    fn here(&self) -> usize {
        smp::here()
    }

    fn interrupt(&self, cpus: CpuSet) {
        cpus.iter().for_each(|cpu| smp::interrupt(cpu, FLUSH));
    }
}

extern "x86-interrupt" fn flush(_: InterruptStackFrame) {
    VMALLOC.get().expect("made before there are others").platform().answer();
    smp::end_of_interrupt();
}
// glue: end

/// An interrupt that is none, and has no end either (Intel SDM 3A, section 12.9).
extern "x86-interrupt" fn spurious(_: InterruptStackFrame) {}

static INTERRUPTS: Once<InterruptDescriptorTable> = Once::new();

/// What CPU 0 shows the others: an address, what they find there, and how many have.
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static ROUND: AtomicUsize = AtomicUsize::new(0);
static SEEN: AtomicUsize = AtomicUsize::new(0);

fn start(info: &'static mut BootInfo) -> ! {
    examples::begin(TEST);
    let offset = info.physical_memory_offset.into_option().expect("asked for");
    let usable = info.memory_regions.iter().filter(|region| region.kind == MemoryRegionKind::Usable);
    let usable = usable.map(|region| region.start..region.end);
    let largest = usable.clone().max_by_key(|range| range.end - range.start).expect("memory");
    let frames = NeverFreeing(Frames(largest.start >> 12..largest.end >> 12));
    smp::number(0);
    // glue: begin
    let memory = Memory::new(offset, usable);
    // SAFETY: there are no threads; the loader shows all memory at the offset, and its tables serve all CPUs; the handler of
    // the interrupt calls `answer`.
    let machine = unsafe { Machine::several_cpus(memory, frames, Apic, &OTHERS) }
        .expect("a CPU as the loader leaves it");
    // SAFETY: the loader maps nothing there.
    let vmalloc = unsafe { Vmalloc::new(machine, 0xffff_d000_0000_0000..0xffff_d010_0000_0000) };
    let vmalloc = VMALLOC.call_once(|| vmalloc.expect("memory enough"));
    // glue: end
    smp::init(vmalloc.ioremap(smp::APIC, PAGE_SIZE, Cache::Uncached).expect("memory enough"));
    let table = INTERRUPTS.call_once(|| {
        let mut table = InterruptDescriptorTable::new();
        table[FLUSH].set_handler_fn(flush);
        table[smp::SPURIOUS_VECTOR].set_handler_fn(spurious);
        table
    });
    table.load();
    interrupts::enable();
    let started = (1..=OTHERS.len()).take_while(|&cpu| {
        let stack = vmalloc.allocate(Request::new(16 * PAGE_SIZE).guard_below()).expect("memory enough");
        // SAFETY: the stack is this long, and never freed.
        unsafe { smp::start(cpu, offset, stack.add(16 * PAGE_SIZE), on_other_cpu) }
    });
    let started = started.count();
    while vmalloc.platform().shootdown().online_count() <= started {
        spin_loop();
    }

    // Two frames in turn at one address, for areas that share no block are at the lowest: who keeps a translation finds
    // what was there before.
    let frames = [0; 2].map(|_| vmalloc.platform().take_frame().expect("memory enough"));
    let (mut last, mut again) = (None, 0);
    for round in 1..=100 {
        let area =
            vmalloc.vmap(&[frames[round % 2]; BLOCK_PAGES], Protection::ReadWrite).expect("memory enough");
        again += usize::from(last.replace(area) == Some(area));
        // SAFETY: the area is there, and unmapped when all others have read it.
        unsafe { area.cast().write(round) };
        ADDRESS.store(area.as_ptr() as usize, Ordering::Relaxed);
        SEEN.store(0, Ordering::Relaxed);
        ROUND.store(round, Ordering::Release);
        while SEEN.load(Ordering::Acquire) < started {
            spin_loop();
        }
        // SAFETY: as above.
        unsafe { vmalloc.vunmap(area) }.expect("mapped");
        vmalloc.purge();
    }
    assert!(again > 50, "the address was used again {again} times");
    assert!(vmalloc.platform().synchronize());
    vmalloc.trim();
    examples::passed()
}

extern "C" fn on_other_cpu() -> ! {
    let vmalloc = VMALLOC.get().expect("made before");
    INTERRUPTS.get().expect("made before").load();
    // SAFETY: no CPU frees anything before all are online, and this one has used nothing that is mapped but the registers
    // and its stack, which stay.
    unsafe { vmalloc.platform().set_online() }.expect("a CPU as the first one");
    interrupts::enable();
    // Nothing is freed before all are online: then the first round begins.
    while ROUND.load(Ordering::Acquire) == 0 {
        spin_loop();
    }
    let mut seen = 0;
    loop {
        let area = vmalloc.vmalloc(3 * PAGE_SIZE).expect("memory enough");
        // SAFETY: nobody uses the area.
        unsafe { vmalloc.vfree(area) }.expect("allocated");
        let round = ROUND.load(Ordering::Acquire);
        if round != seen {
            let word = ADDRESS.load(Ordering::Relaxed) as *const usize;
            // SAFETY: it stays mapped until this CPU has read it.
            assert_eq!(unsafe { word.read_volatile() }, round, "an old translation");
            seen = round;
            SEEN.fetch_add(1, Ordering::Release);
        }
    }
}
