//! From the boot loader's hands to the kernel's `main`.
//!
//! On the loader's page tables and stack: the serial line, exceptions, the frame allocator, the
//! kernel's own page tables, vmalloc. Then, on those tables and a stack from vmalloc: exception
//! stacks, time, the kernel's parameters, the other CPUs.

use super::{acpi::Platform, clocks, exception_stacks::ExceptionStacks, hooks, smp, trampoline};
use crate::{
    arch::{
        apic,
        cpu::{self, controls::Controls},
        cpu_set::CpuSet,
        interrupts::{idt, segments},
        layout::{DIRECT_MAP_START, IMAGE_MAX, IMAGE_START, LOADER_END, LOADER_START, VMALLOC},
        paging::{BuildError, Tables},
        tlb, tsc,
    },
    command::CommandError,
    console::sysctl,
    drivers::{fw_cfg, ioapic, power, serial},
    memory::{
        self, Stack, frames,
        map::{Map, Ranges},
    },
    println, services,
    sync::Once,
    threads,
};
use alloc::{boxed::Box, format};
use bootloader_api::{BootInfo, BootloaderConfig, config::Mapping};
use core::{fmt::Display, mem::ManuallyDrop, ops::Range};
use protocol::Exit;
use vmalloc::{Cache, Frame, NewError, PAGE_SHIFT, PAGE_SIZE};

/// Asks the loader for the kernel's address map. The image is linked for its place in it.
pub static LOADER_CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.kernel_stack_size = LOADER_STACK;
    config.mappings.physical_memory = Some(Mapping::FixedAddress(DIRECT_MAP_START));
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

static MAIN: Once<fn() -> !> = Once::new();
/// What the loader says of the machine, and is needed when its tables are gone.
static FIRMWARE: Once<Firmware> = Once::new();

struct Firmware {
    /// Physical address of ACPI's root pointer.
    rsdp: Option<u64>,
    /// A place to start other CPUs in.
    low_frames: Option<Frame>,
}

/// Defines the kernel's entry point: boots, then calls the given `fn() -> !`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        bootloader_api::entry_point!(start_kernel, config = &$crate::bringup::LOADER_CONFIG);

        fn start_kernel(info: &'static mut bootloader_api::BootInfo) -> ! {
            $crate::bringup::start(info, $main)
        }
    };
}

/// Called by the loader, on its page tables and its stack.
pub fn start(info: &'static mut BootInfo, main: fn() -> !) -> ! {
    // UEFI runs programs with interrupts on, and says nothing of them when it ends.
    x86_64::instructions::interrupts::disable();
    // SAFETY: the loader starts one CPU, once.
    unsafe { cpu::init(0) };
    hooks::install();
    tlb::init();
    serial::init(info.framebuffer.as_mut());
    segments::load_early();
    idt::load_early();
    if let Err(unfit) = Controls::check() {
        println!("this machine will not do: {unfit}");
        power::exit(Exit::Unfit);
    }
    // SAFETY: just checked. What the loader maps has write-back caches, or none.
    unsafe { Controls::KERNEL.apply() };
    MAIN.call_once(|| main);
    assert_address_map(info);
    let rsdp = info.rsdp_addr.into_option();
    let map = Map::new(&mut info.memory_regions);
    let low = map.low(trampoline::FRAMES * PAGE_SIZE as u64);
    FIRMWARE
        .call_once(|| Firmware { rsdp, low_frames: low.map(|range| Frame::new(range.start >> PAGE_SHIFT)) });

    let bytes: u64 = map.usable().map(|range| range.end - range.start).sum();
    // SAFETY: the loader reports what nobody uses, and maps all memory where the direct map is.
    if bytes < MINIMUM_MEMORY || !unsafe { frames::init(map.usable()) } {
        too_little_memory(bytes);
    }
    let tables = match build_tables(map.all()) {
        Ok(tables) => tables,
        Err(BuildError::OutOfFrames) => too_little_memory(bytes),
        Err(error) => panic!("the kernel has no page tables: {error:?}"),
    };
    tlb::init_cpu();
    let vmalloc = match memory::init_vmalloc(tables.root()) {
        Ok(vmalloc) => vmalloc,
        Err(NewError::OutOfFrames) => too_little_memory(bytes),
        Err(error) => panic!("the kernel's range is no vmalloc range: {error}"),
    };
    let Ok(stack) = Stack::new(vmalloc, MAIN_STACK) else { too_little_memory(bytes) };
    // The boot CPU stays on it.
    let stack = ManuallyDrop::new(stack).range();
    cpu::set_stack(&stack);
    // SAFETY: the tables map the image and the direct map at the places they have now, and the
    // stack, which was just allocated. What `start` borrowed of the loader is not used any more.
    unsafe { tables.switch_to(stack, on_own_tables) }
}

/// The rest of the boot sequence.
extern "C" fn on_own_tables() -> ! {
    match ExceptionStacks::new() {
        Ok(stacks) => Box::leak(Box::new(stacks)).load(),
        Err(error) => {
            println!("too little memory for exception stacks: {error}");
            power::exit(Exit::Unfit);
        }
    }
    idt::load();
    let registers = |address| memory::vmalloc().ioremap(address, PAGE_SIZE, Cache::Uncached);
    // SAFETY: that is what `ioremap` does, and nobody unmaps it.
    if let Err(error) = unsafe { apic::init(registers) } {
        println!("the interrupt controller's registers cannot be mapped: {error}");
        power::exit(Exit::Unfit);
    }
    let Some(firmware) = FIRMWARE.get() else { unreachable!("set before") };
    let platform = read_platform(firmware.rsdp);
    power::init(platform.reset, platform.off);
    let registers = platform.io_apics.iter().filter_map(|&address| {
        match memory::vmalloc().ioremap(address, ioapic::BYTES, Cache::Uncached) {
            Ok(registers) => Some(registers),
            // Such as one at 0, which some firmware tells of.
            Err(error) => {
                println!("the interrupt controller at {address:#x} is left out: {error}");
                None
            }
        }
    });
    // SAFETY: the firmware says that they are there; they were just mapped, and nobody unmaps them.
    unsafe { ioapic::init(registers.collect()) };
    // Before time is measured: in an emulator busy CPUs would disturb that.
    // SAFETY: the kernel has started none of them yet.
    unsafe { apic::send_init_to_others() };
    if let Err(refusal) = clocks::calibrate(&platform) {
        println!("the time stamp counter's frequency is unknown: {refusal}");
        power::exit(Exit::Unfit);
    }
    if !clocks::counter_is_invariant() && !cpu::is_virtual() {
        println!("the time stamp counter is not invariant: time is wrong when CPUs change speed or rest");
    }
    if let Err(fault) = apic::calibrate() {
        println!("no timer: the local APIC's {fault}");
        power::exit(Exit::Unfit);
    }
    let parameters = fw_cfg::read(protocol::FW_CFG_PARAMETERS).unwrap_or_default();
    for word in parameters.split_whitespace() {
        assign(word).unwrap_or_else(|error| wrong_parameter(&error));
    }
    // SAFETY: the loader says that nobody uses the frames.
    unsafe { smp::start_all(platform.apic_ids, firmware.low_frames) };
    let missing = cpu::isolated().without(cpu::online());
    if missing != CpuSet::EMPTY {
        wrong_parameter(&format_args!("isolated={}: there is no CPU {missing}", cpu::isolated()));
    }
    x86_64::instructions::interrupts::enable();
    if let Err(error) = threads::init().map_err(Into::into).and_then(|()| services::init()) {
        println!("the kernel's own threads could not be made: {error}");
        power::exit(Exit::Unfit);
    }
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let memory = (frames::counts().total * PAGE_SIZE as u64) >> 20;
    let cpus = cpu::online_count();
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

/// What the firmware tells of the machine; nothing, with a line that says so, if it does not.
fn read_platform(rsdp: Option<u64>) -> Platform {
    let Some(rsdp) = rsdp else {
        println!("no other CPUs: the firmware has no ACPI tables");
        return Platform::default();
    };
    // SAFETY: the loader says that it is there.
    match unsafe { Platform::read(rsdp) } {
        Ok(platform) => platform,
        Err(error) => {
            println!("no other CPUs: the firmware's tables are broken: {error:?}");
            Platform::default()
        }
    }
}

/// Carries out one kernel parameter: `isolated=LIST`, or a tunable.
fn assign(word: &str) -> Result<(), CommandError> {
    let Some(("isolated", list)) = word.split_once('=') else { return sysctl::assign(word) };
    let cpus =
        CpuSet::parse(list, cpu::MAX_CPUS).map_err(|error| CommandError::new(format!("{word}: {error}")))?;
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
    inside("the kernel's code", on_own_tables as *const () as u64, image);
    assert!(LOADER_END as usize <= VMALLOC.start);
}

fn build_tables(memory: Ranges<'_>) -> Result<Tables, BuildError> {
    let mut tables = Tables::new(frames::take_table)?;
    tables.adopt_image()?;
    for range in memory {
        tables.map_direct(range)?;
    }
    Ok(tables)
}
