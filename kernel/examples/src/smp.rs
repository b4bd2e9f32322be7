//! Starting other CPUs and interrupting them, by the local APICs' registers in memory: what a kernel of several CPUs has.
//!
//! The CPUs have the APIC ids 0, 1, 2, and so on, as QEMU gives them. Source: Intel SDM 3A, chapters 9 and 12.

use core::{
    arch::{global_asm, naked_asm, x86_64 as intrinsics},
    hint::spin_loop,
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};
use x86_64::{
    instructions::segmentation::{DS, ES, SS, Segment},
    registers::{control::Cr3, model_specific::Msr, segmentation::SegmentSelector},
    structures::gdt::{DescriptorFlags, GlobalDescriptorTable},
};

/// The vector of interrupts that an APIC takes back.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// Physical address of each CPU's own registers.
pub const APIC: u64 = 0xfee0_0000;

/// Where a CPU starts, in a page below 1 MiB which the boot loader leaves alone, with three page tables behind it.
const START: u64 = 0x8000;
/// Where it finds what it needs, in that page: the root of its first page tables, that of the kernel's, its stack, its code.
const NEEDS: u64 = START + 0x800;
/// Where its first segments are, in that page: flat code of 64 bits, data, code of 32 bits.
const GDT: u64 = START + 0x900;
const SEGMENTS: [u64; 4] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_9b00_0000_ffff];
/// Where it finds where these are: the address and, before it, the limit.
const GDT_POINTER: u64 = START + 0xa00;

const ID: usize = 0x20;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS: usize = 0xf0;
const COMMAND: usize = 0x300;
const TARGET: usize = 0x310;
const PENDING: u32 = 1 << 12;
const INIT: u32 = 0x4500;
const STARTUP: u32 = 0x4600;
const FIXED: u32 = 0x4000;

/// Ticks of the time stamp counter: some milliseconds, and some seconds.
const SOON: u64 = 1 << 25;
const LATE: u64 = 1 << 34;

static REGISTERS: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// CPUs that run, but the first.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// Uses these registers, which are those at [`APIC`], from now on.
pub fn init(registers: NonNull<u8>) {
    REGISTERS.store(registers.as_ptr(), Ordering::Release);
    init_cpu();
}

fn init_cpu() {
    write(SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
}

/// Gives the current CPU its number, which [`here`] returns from now on.
pub fn number(number: u32) {
    // SAFETY: what `rdtscp` returns beside the counter.
    unsafe { Msr::new(0xc000_0103).write(number.into()) };
}

fn read(register: usize) -> u32 {
    // SAFETY: `init` was given the page of registers.
    unsafe { REGISTERS.load(Ordering::Acquire).add(register).cast::<u32>().read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above. What is written interrupts CPUs that are ready for it.
    unsafe { REGISTERS.load(Ordering::Acquire).add(register).cast::<u32>().write_volatile(value) };
}

fn command(cpu: usize, command: u32) {
    write(TARGET, (cpu as u32) << 24);
    write(COMMAND, command);
    while read(COMMAND) & PENDING != 0 {
        spin_loop();
    }
}

fn wait(ticks: u64, done: impl Fn() -> bool) -> bool {
    // SAFETY: every CPU with 64 bits has a time stamp counter.
    let now = || unsafe { intrinsics::_rdtsc() };
    let start = now();
    while !done() && now() - start < ticks {
        spin_loop();
    }
    done()
}

/// Returns the number of the current CPU.
pub fn here() -> usize {
    let mut number = 0;
    // SAFETY: QEMU's CPUs have the instruction.
    unsafe { intrinsics::__rdtscp(&mut number) };
    number as usize
}

/// Interrupts a CPU.
pub fn interrupt(cpu: usize, vector: u8) {
    command(cpu, FIXED | u32::from(vector));
}

/// Says that the interrupt is handled.
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Starts another CPU, which calls `enter` on the stack that ends at `stack`, with interrupts off. Returns whether there is
/// such a CPU.
///
/// # Safety
/// Physical memory is seen at `offset`. The stack is the CPU's for ever.
pub unsafe fn start(cpu: usize, offset: u64, stack: NonNull<u8>, enter: extern "C" fn() -> !) -> bool {
    let (before, root) = (ARRIVED.load(Ordering::Acquire), Cr3::read().0.start_address().as_u64());
    let [low_root, pointers, directory] = [1, 2, 3].map(|page| START + page * 0x1000);
    let at = |address: u64| (offset + address) as *mut u64;
    // SAFETY: the loader left these pages alone, and no CPU starts there now.
    unsafe {
        let code = &raw const smp_start;
        let length = (&raw const smp_end).offset_from_unsigned(code);
        at(START).cast::<u8>().copy_from(code, length);
        at(low_root).cast::<[u64; 512]>().copy_from(at(root).cast(), 1);
        at(low_root).write(pointers | 3);
        at(pointers).write(directory | 3);
        // 2 MiB, where they are.
        at(directory).write(0x83);
        let needs =
            [low_root, root, stack.as_ptr() as u64, enter as *const () as u64, arrive as *const () as u64];
        at(NEEDS).cast::<[u64; 5]>().write(needs);
        at(GDT).cast::<[u64; 4]>().write(SEGMENTS);
        at(GDT_POINTER).write(GDT << 16 | (size_of_val(&SEGMENTS) as u64 - 1));
    }
    command(cpu, INIT);
    wait(SOON, || false);
    for _ in 0..2 {
        command(cpu, STARTUP | (START >> 12) as u32);
        if wait(SOON, || ARRIVED.load(Ordering::Acquire) > before) {
            return true;
        }
    }
    wait(LATE, || ARRIVED.load(Ordering::Acquire) > before)
}

/// The first code that a CPU runs in the kernel's image: leaves the low tables, in RAX, and calls `enter`, in RDI.
#[unsafe(naked)]
extern "C" fn arrive() -> ! {
    // A function finds the stack 8 bytes off a multiple of 16.
    naked_asm!(
        "mov cr3, rax",
        "push rdi",
        "sub rsp, 8",
        "call {settle}",
        "add rsp, 8",
        "pop rdi",
        "sub rsp, 8",
        "jmp rdi",
        settle = sym settle,
    )
}

extern "C" fn settle() {
    static GDT: GlobalDescriptorTable = GlobalDescriptorTable::from_raw_entries(&[
        0,
        DescriptorFlags::KERNEL_CODE64.bits(),
        DescriptorFlags::KERNEL_DATA.bits(),
    ]);
    GDT.load();
    let data = SegmentSelector::new(2, x86_64::PrivilegeLevel::Ring0);
    // SAFETY: flat data, as the CPU has it already.
    unsafe {
        DS::set_reg(data);
        ES::set_reg(data);
        SS::set_reg(data);
    }
    number(read(ID) >> 24);
    init_cpu();
    ARRIVED.fetch_add(1, Ordering::Release);
}

unsafe extern "C" {
    safe static smp_start: u8;
    safe static smp_end: u8;
}

global_asm!(
    ".pushsection .rodata.smp, \"a\"",
    "smp_start:",
    ".code16",
    "cli",
    "xor ax, ax",
    "mov ds, ax",
    "lgdt [{gdt_pointer}]",
    "mov eax, cr0",
    "or eax, 1", // PE
    "mov cr0, eax",
    ".byte 0x66, 0xea", // A far jump to 32 bits.
    ".long {start} + smp_32 - smp_start",
    ".short 0x18",
    "smp_32:",
    ".code32",
    "mov ax, 0x10",
    "mov ds, ax",
    "mov ss, ax",
    "mov eax, cr4",
    "or eax, 1 << 5", // PAE
    "mov cr4, eax",
    "mov eax, [{needs}]",
    "mov cr3, eax",
    "mov ecx, 0xc0000080", // EFER
    "rdmsr",
    "or eax, (1 << 8) | (1 << 11)", // LME, NXE
    "wrmsr",
    "mov eax, cr0",
    "or eax, (1 << 31) | (1 << 16)", // PG, WP
    "mov cr0, eax",
    ".byte 0xea", // A far jump to 64 bits.
    ".long {start} + smp_64 - smp_start",
    ".short 0x08",
    "smp_64:",
    ".code64",
    "mov rax, [{needs} + 8]",
    "mov rsp, [{needs} + 16]",
    "mov rdi, [{needs} + 24]",
    "jmp [{needs} + 32]",
    "smp_end:",
    ".popsection",
    start = const START,
    needs = const NEEDS,
    gdt_pointer = const GDT_POINTER,
);
