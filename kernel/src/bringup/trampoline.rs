//! The first instructions of a CPU: from real mode to the kernel's page tables.
//!
//! It starts at the first byte of a page below 1 MiB. The page holds the code and, behind it, what the
//! kernel filled in. Three more pages are the page tables that the CPU turns paging on with: they show
//! the trampoline where it is, and the kernel; they are below 4 GiB, where the kernel's own root need
//! not be. No other CPU ever uses them.

use crate::arch::paging::direct_map;
use core::{
    arch::{global_asm, naked_asm},
    mem::{offset_of, size_of},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};
use vmalloc::{Frame, PAGE_SHIFT, PAGE_SIZE};
use x86_64::registers::control::Cr3;

/// Contiguous frames that a [`Trampoline`] takes.
pub const FRAMES: u64 = 4;

/// Where [`Parameters`] are in the page.
const PARAMETERS: usize = 0x200;

/// What the code reads. Segments are those that the kernel loads.
#[repr(C)]
struct Parameters {
    gdt: [u64; 4],
    /// Limit, and 32 bits of base, as `lgdt` reads them.
    gdt_pointer: [u16; 4],
    /// Offset and segment, as far jumps read them.
    to_32_bits: [u32; 2],
    to_64_bits: [u32; 2],
    /// The tables in the pages behind.
    low_root: u64,
    /// The address of [`on_kernel_tables`], and what it is told.
    on_kernel_tables: u64,
    kernel_root: u64,
    enter: u64,
    /// The called CPU's.
    apic_id: AtomicU32,
    /// The end of its stack; 0 once the CPU has taken it.
    stack: AtomicU64,
}

/// Flat segments; Intel SDM 3A, section 3.4.5. The kernel's 64-bit code has the same selector.
const GDT: [u64; 4] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_9b00_0000_ffff];
const CODE_64: u32 = 0x08;
const DATA: u32 = 0x10;
const CODE_32: u32 = 0x18;

const ENTRY_PRESENT_WRITABLE: u64 = 0b11;
const ENTRY_HUGE: u64 = 1 << 7;

global_asm!(
    ".pushsection .rodata.trampoline, \"a\"",
    "trampoline_start:",
    ".code16",
    "cli",
    "cld",
    "mov ax, cs",
    "mov ds, ax",
    "movzx esi, ax",
    "shl esi, 4", // the page's address, from here on
    "lgdt [{parameters} + {gdt_pointer}]",
    "mov eax, cr0",
    "or eax, 1", // PE
    "mov cr0, eax",
    "jmp fword ptr [{parameters} + {to_32_bits}]",
    "trampoline_32:",
    ".code32",
    "mov ax, {data}",
    "mov ds, ax",
    "mov ss, ax",
    // Long mode: Intel SDM 3A, section 10.8.5.
    "mov eax, cr4",
    "or eax, 1 << 5", // PAE
    "mov cr4, eax",
    "mov eax, [esi + {parameters} + {low_root}]",
    "mov cr3, eax",
    "mov ecx, 0xc0000080", // EFER
    "rdmsr",
    "or eax, (1 << 8) | (1 << 11)", // LME, NXE
    "wrmsr",
    "mov eax, cr0",
    "or eax, 1 << 31", // PG
    "mov cr0, eax",
    "jmp fword ptr [esi + {parameters} + {to_64_bits}]",
    "trampoline_64:",
    ".code64",
    "mov esi, esi", // the upper half is undefined after the change of mode
    // Only the CPU that is called may take the stack, and only once: one that was given up may come late.
    // Its id: leaf 0xb has all 32 bits (Intel SDM 3A, section 12.12.8.1), leaf 1 the lower eight.
    "xor eax, eax",
    "cpuid",
    "cmp eax, 0xb",
    "jb 3f",
    "mov eax, 0xb",
    "xor ecx, ecx",
    "cpuid",
    "test ebx, ebx", // nothing is known by that leaf
    "mov ebx, edx",
    "jnz 4f",
    "3:",
    "mov eax, 1",
    "cpuid",
    "shr ebx, 24",
    "4:",
    "cmp ebx, [rsi + {parameters} + {apic_id}]",
    "jne 2f",
    "xor eax, eax",
    "xchg rax, [rsi + {parameters} + {stack}]",
    "test rax, rax",
    "jz 2f",
    "mov rsp, rax",
    "mov rax, [rsi + {parameters} + {kernel_root}]",
    "mov rdi, [rsi + {parameters} + {enter}]",
    "jmp [rsi + {parameters} + {on_kernel_tables}]",
    "2:",
    "hlt",
    "jmp 2b",
    "trampoline_end:",
    ".popsection",
    parameters = const PARAMETERS,
    gdt_pointer = const offset_of!(Parameters, gdt_pointer),
    to_32_bits = const offset_of!(Parameters, to_32_bits),
    to_64_bits = const offset_of!(Parameters, to_64_bits),
    low_root = const offset_of!(Parameters, low_root),
    kernel_root = const offset_of!(Parameters, kernel_root),
    apic_id = const offset_of!(Parameters, apic_id),
    stack = const offset_of!(Parameters, stack),
    enter = const offset_of!(Parameters, enter),
    data = const DATA,
    on_kernel_tables = const offset_of!(Parameters, on_kernel_tables),
);

unsafe extern "C" {
    safe static trampoline_start: u8;
    safe static trampoline_32: u8;
    safe static trampoline_64: u8;
    safe static trampoline_end: u8;
}

/// In the kernel's image, which both page tables show: leaves the low tables for the kernel's in RAX,
/// and goes on in RDI. The end of a stack is aligned; `call` makes it what a function expects.
#[unsafe(naked)]
extern "C" fn on_kernel_tables() -> ! {
    naked_asm!("mov cr3, rax", "xor ebp, ebp", "call rdi", "ud2")
}

/// The code and the tables, ready but for a stack.
pub struct Trampoline {
    code: Frame,
}

impl Trampoline {
    /// Writes code and page tables to [`FRAMES`] frames from `first` on. CPUs started on it call
    /// `enter`, with interrupts off, on the tables that the CPU which runs this is on.
    ///
    /// # Safety
    /// The frames are below 1 MiB, the first is not frame 0, nobody else uses them, and the direct map
    /// shows them.
    pub unsafe fn new(first: Frame, enter: extern "C" fn() -> !) -> Self {
        let base = first.address();
        let [root, directory_pointers, directory] = [1, 2, 3].map(|page| Frame::new(first.number() + page));
        let start = &raw const trampoline_start;
        let offset = |label: *const u8| label as u64 - start as u64;
        let length = offset(&raw const trampoline_end) as usize;
        assert!(length <= PARAMETERS && base + FRAMES * PAGE_SIZE as u64 <= 1 << 20 && base > 0);
        let kernel_root = Cr3::read().0.start_address().as_u64();
        let filled = Parameters {
            gdt: GDT,
            gdt_pointer: [
                size_of_val(&GDT) as u16 - 1,
                (base as usize + PARAMETERS) as u16,
                (base >> 16) as u16,
                0,
            ],
            to_32_bits: [(base + offset(&raw const trampoline_32)) as u32, CODE_32],
            to_64_bits: [(base + offset(&raw const trampoline_64)) as u32, CODE_64],
            low_root: root.address(),
            on_kernel_tables: on_kernel_tables as *const () as u64,
            kernel_root,
            enter: enter as *const () as u64,
            apic_id: AtomicU32::new(0),
            stack: AtomicU64::new(0),
        };
        let kernel_root = direct_map::pointer(Frame::new(kernel_root >> PAGE_SHIFT)).cast::<[u64; 512]>();
        let table = |first_entry: u64| {
            let mut table = [0; 512];
            table[0] = first_entry;
            table
        };
        // SAFETY: the frames are the caller's to give. The root in use is a table; its upper half
        // never changes.
        unsafe {
            let mut top = kernel_root.read_volatile();
            assert_eq!(top[0], 0, "the kernel maps nothing low");
            top[0] = directory_pointers.address() | ENTRY_PRESENT_WRITABLE;
            direct_map::pointer(root).cast().write(top);
            direct_map::pointer(directory_pointers)
                .cast()
                .write(table(directory.address() | ENTRY_PRESENT_WRITABLE));
            // The first 2 MiB, where they are.
            direct_map::pointer(directory).cast().write(table(ENTRY_HUGE | ENTRY_PRESENT_WRITABLE));
            let code = direct_map::pointer(first);
            code.as_ptr().copy_from_nonoverlapping(start, length);
            parameters(first).write(filled);
        }
        Self { code: first }
    }

    /// Offers a stack, by its end, to the CPU with this APIC id. Returns the number of the page that
    /// it starts in.
    pub fn offer(&mut self, apic_id: u32, stack: usize) -> u8 {
        let parameters = self.parameters();
        parameters.apic_id.store(apic_id, Ordering::Relaxed);
        parameters.stack.store(stack as u64, Ordering::Release);
        self.code.number() as u8
    }

    /// Takes the offer back. `false` if the CPU has taken the stack: it runs.
    pub fn withdraw(&mut self) -> bool {
        self.parameters().stack.swap(0, Ordering::Acquire) != 0
    }

    fn parameters(&self) -> &Parameters {
        // SAFETY: `new` wrote them; CPUs change only what is atomic.
        unsafe { parameters(self.code).as_ref() }
    }
}

fn parameters(code: Frame) -> NonNull<Parameters> {
    // SAFETY: they lie in the frame.
    unsafe { direct_map::pointer(code).byte_add(PARAMETERS).cast() }
}

const _: () = assert!(PARAMETERS + size_of::<Parameters>() <= PAGE_SIZE && PARAMETERS.is_multiple_of(8));
