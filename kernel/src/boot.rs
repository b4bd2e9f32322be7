//! From the boot loader's hands to the kernel's `main`.
//!
//! On the loader's page tables and stack: the serial line, exceptions, the frame allocator, the
//! kernel's own page tables, vmalloc. Then, on those tables and a stack from vmalloc: exception
//! stacks, time, the kernel's parameters, the other CPUs.

use crate::{
    arch::{
        apic, cpu,
        cpu_set::CpuSet,
        gdt::Segments,
        idt,
        layout::{DIRECT_MAP_START, IMAGE_MAX, IMAGE_START, LOADER_END, LOADER_START, VMALLOC},
        paging::{BuildError, Tables},
        smp,
        stack::Stack,
        tlb, trampoline, tsc,
    },
    console::{CommandError, sysctl},
    drivers::{fw_cfg, power, serial},
    memory::{self, frames, purger, rcu},
    println,
    sync::Once,
    threads,
};
use alloc::{boxed::Box, format};
use bootloader_api::{
    BootInfo, BootloaderConfig,
    config::Mapping,
    info::{MemoryRegion, MemoryRegionKind},
};
use core::{fmt::Display, ops::Range};
use protocol::Exit;
use vmalloc::{Frame, NewError, PAGE_SIZE};

/// Asks the loader for the kernel's address map.
pub static LOADER_CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.kernel_stack_size = LOADER_STACK;
    config.mappings.physical_memory = Some(Mapping::FixedAddress(DIRECT_MAP_START));
    config.mappings.kernel_base = Mapping::FixedAddress(IMAGE_START);
    config.mappings.dynamic_range_start = Some(LOADER_START);
    config.mappings.dynamic_range_end = Some(LOADER_END);
    config
};

/// Bytes of the stack that the loader starts the kernel on.
const LOADER_STACK: u64 = 1 << 20;
/// Bytes of the stack that `main` runs on.
const MAIN_STACK: usize = 256 << 10;
/// Usable memory, in bytes, below which nothing useful would be left.
const MINIMUM_MEMORY: u64 = 16 << 20;
/// Firmware and the start code of other CPUs live below.
const LOW_MEMORY_END: u64 = 1 << 20;
/// Parts of memory the kernel can tell apart; UEFI machines have some tens.
const MAX_REGIONS: usize = 256;

static MAIN: Once<fn() -> !> = Once::new();
static FIRMWARE: Once<smp::Firmware> = Once::new();

/// Defines the kernel's entry point: boots, then calls the given `fn() -> !`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        bootloader_api::entry_point!(start_kernel, config = &$crate::boot::LOADER_CONFIG);

        fn start_kernel(info: &'static mut bootloader_api::BootInfo) -> ! {
            $crate::boot::start(info, $main)
        }
    };
}

/// Called by the loader, on its page tables and its stack.
pub fn start(info: &'static mut BootInfo, main: fn() -> !) -> ! {
    cpu::init(0);
    tlb::init();
    serial::init();
    crate::arch::gdt::init_early();
    idt::init_early();
    MAIN.call_once(|| main);
    FIRMWARE.call_once(|| smp::Firmware {
        rsdp: info.rsdp_addr.into_option(),
        low_frames: low_frames(&info.memory_regions),
    });
    assert_address_map(info);

    let usable = Regions::of(&info.memory_regions, |kind| kind == MemoryRegionKind::Usable, LOW_MEMORY_END);
    let bytes: u64 = usable.as_slice().iter().map(|range| range.end - range.start).sum();
    // SAFETY: the loader reports what nobody uses, and maps all memory where the direct map is.
    if bytes < MINIMUM_MEMORY || !unsafe { frames::init(usable.as_slice()) } {
        too_little_memory(bytes);
    }
    let all = Regions::of(&info.memory_regions, is_memory, 0);
    let tables = match build_tables(all.as_slice()) {
        Ok(tables) => tables,
        Err(BuildError::OutOfFrames) => too_little_memory(bytes),
        Err(error) => panic!("the kernel has no page tables: {error:?}"),
    };
    let vmalloc = match memory::init_vmalloc(tables.root()) {
        Ok(vmalloc) => vmalloc,
        Err(NewError::OutOfFrames) => too_little_memory(bytes),
        Err(error) => panic!("the kernel's range is no vmalloc range: {error}"),
    };
    let Ok(stack) = vmalloc.allocate(Stack::request(MAIN_STACK)) else { too_little_memory(bytes) };
    let stack = stack.as_ptr() as usize..stack.as_ptr() as usize + MAIN_STACK;
    cpu::set_stack(&stack);
    // SAFETY: the tables map the image and the direct map at the places they have now, and the
    // stack, which was just allocated. What `start` borrowed of the loader is not used any more.
    unsafe { tables.switch_to(stack, on_own_tables) }
}

/// The rest of the boot sequence.
extern "C" fn on_own_tables() -> ! {
    tlb::init_cpu();
    match Segments::new() {
        Ok(segments) => Box::leak(Box::new(segments)).load(),
        Err(error) => {
            println!("too little memory for exception stacks: {error}");
            power::exit(Exit::Unfit);
        }
    }
    idt::use_exception_stacks();
    if let Err(error) = apic::init() {
        println!("too little memory for the interrupt controller's registers: {error}");
        power::exit(Exit::Unfit);
    }
    // Before time is measured: in an emulator busy CPUs would disturb that.
    apic::send_init_to_others();
    tsc::calibrate();
    apic::calibrate();
    let parameters = fw_cfg::read(protocol::FW_CFG_PARAMETERS).unwrap_or_default();
    for word in parameters.split_whitespace() {
        assign(word).unwrap_or_else(|error| wrong_parameter(&error));
    }
    if let Some(firmware) = FIRMWARE.get() {
        // SAFETY: the loader says so.
        unsafe { smp::start_all(*firmware) };
    }
    let missing = cpu::isolated().without(cpu::online());
    if missing != CpuSet::EMPTY {
        wrong_parameter(&format_args!("isolated={}: there is no CPU {missing}", cpu::isolated()));
    }
    x86_64::instructions::interrupts::enable();
    if let Err(error) = threads::init().and_then(|()| purger::init()).and_then(|()| rcu::init()) {
        println!("the kernel's own threads could not be made: {error}");
        power::exit(Exit::Unfit);
    }
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let memory = (frames::counts().total * PAGE_SIZE as u64) >> 20;
    let cpus = cpu::online().count();
    println!(
        "vmalloc kernel {}, {profile} build, {cpus} CPU{} {}, {memory} MiB of memory, TSC at {} kHz",
        env!("CARGO_PKG_VERSION"),
        if cpus == 1 { "" } else { "s" },
        cpu::brand(),
        tsc::kilohertz()
    );
    match MAIN.get() {
        Some(main) => main(),
        None => unreachable!("set before"),
    }
}

/// Carries out one kernel parameter: `isolated=LIST`, or a tunable.
fn assign(word: &str) -> Result<(), CommandError> {
    let Some(("isolated", list)) = word.split_once('=') else { return sysctl::assign(word) };
    let cpus = CpuSet::parse(list).map_err(|error| CommandError::new(format!("{word}: {error}")))?;
    cpu::isolate(cpus).map_err(|_| CommandError::new(format!("{word}: CPU 0 cannot be isolated")))
}

fn wrong_parameter(error: &dyn Display) -> ! {
    println!("kernel parameter {error}");
    power::exit(Exit::Failure);
}

fn too_little_memory(bytes: u64) -> ! {
    let (usable, needed) = (bytes >> 20, MINIMUM_MEMORY >> 20);
    println!("too little memory: {usable} MiB are usable, at least {needed} MiB are needed");
    power::exit(Exit::Unfit);
}

/// What the kernel counts on, and the loader was asked for.
fn assert_address_map(info: &BootInfo) {
    let inside = |what: &str, address: u64, range: Range<u64>| {
        assert!(range.contains(&address), "{what} at {address:#x} is outside of {range:#x?}");
    };
    let loader = LOADER_START..LOADER_END;
    let image = IMAGE_START..IMAGE_START + IMAGE_MAX;
    assert_eq!(info.physical_memory_offset.into_option(), Some(DIRECT_MAP_START), "direct map");
    inside("the boot info", core::ptr::from_ref(info) as u64, loader.clone());
    inside("the loader's stack", info.kernel_stack_bottom, loader);
    inside("the kernel's image", info.kernel_image_offset, image.clone());
    inside("the kernel's code", on_own_tables as *const () as u64, image);
    assert!(LOADER_END as usize <= VMALLOC.start);
}

fn build_tables(memory: &[Range<u64>]) -> Result<Tables, BuildError> {
    let mut tables = Tables::new(frames::take_zeroed)?;
    tables.adopt_image()?;
    for range in memory {
        tables.map_direct(range.clone())?;
    }
    Ok(tables)
}

/// A place to start other CPUs in.
fn low_frames(map: &[MemoryRegion]) -> Option<Frame> {
    let page = PAGE_SIZE as u64;
    let place = |region: &MemoryRegion| {
        // The first page is where real mode's interrupts and many mistakes point to.
        let first = region.start.next_multiple_of(page).max(page);
        let end = region.end.min(LOW_MEMORY_END);
        (first + trampoline::FRAMES * page <= end).then(|| Frame::new(first / page))
    };
    map.iter().filter(|region| region.kind == MemoryRegionKind::Usable).find_map(place)
}

/// Whether a region is memory, whoever uses it, as opposed to devices and holes. The numbers are
/// UEFI's memory types: loader, boot and runtime services, conventional, ACPI, persistent.
fn is_memory(kind: MemoryRegionKind) -> bool {
    match kind {
        MemoryRegionKind::Usable | MemoryRegionKind::Bootloader => true,
        MemoryRegionKind::UnknownUefi(kind) => matches!(kind, 1..=7 | 9 | 10 | 14),
        _ => false,
    }
}

/// Page-aligned physical ranges, sorted, neighbours merged.
struct Regions {
    ranges: [Range<u64>; MAX_REGIONS],
    count: usize,
}

impl Regions {
    fn of(map: &[MemoryRegion], wanted: impl Fn(MemoryRegionKind) -> bool, from: u64) -> Self {
        let mut regions = Self { ranges: [const { 0..0 }; MAX_REGIONS], count: 0 };
        let page = PAGE_SIZE as u64;
        for region in map.iter().filter(|region| wanted(region.kind)) {
            let range = region.start.max(from).next_multiple_of(page)..region.end / page * page;
            if !range.is_empty() {
                assert!(regions.count < MAX_REGIONS, "the memory map has more than {MAX_REGIONS} parts");
                regions.ranges[regions.count] = range;
                regions.count += 1;
            }
        }
        regions.ranges[..regions.count].sort_unstable_by_key(|range| range.start);
        regions.merge();
        regions
    }

    fn merge(&mut self) {
        let mut kept = 0;
        for index in 1..self.count {
            let next = self.ranges[index].clone();
            if self.ranges[kept].end == next.start {
                self.ranges[kept].end = next.end;
            } else {
                kept += 1;
                self.ranges[kept] = next;
            }
        }
        self.count = self.count.min(kept + 1);
    }

    fn as_slice(&self) -> &[Range<u64>] {
        &self.ranges[..self.count]
    }
}
