//! From GRUB, in 32 bits without paging, to [`kernel`](super::kernel), in 64 bits with the first 4 GiB where they are.

use core::arch::global_asm;

/// Bytes of memory that the kernel sees, each at its own address.
pub const SEEN: u64 = 4 << 30;

/// Bytes of the stack that the kernel starts on.
const STACK: usize = 64 << 10;

global_asm!(
    ".pushsection .multiboot2, \"a\"",
    ".balign 8",
    "header:",
    ".long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))",
    ".short 0, 0",
    ".long 8",
    "header_end:",
    ".popsection",
    ".pushsection .data.tables, \"aw\"",
    ".balign 4096",
    "root:",
    ".quad pointers + 3",
    ".fill 511, 8, 0",
    "pointers:",
    ".quad directories + 3, directories + 0x1003, directories + 0x2003, directories + 0x3003",
    ".fill 508, 8, 0",
    "directories:",
    ".rept 4 * 512",
    ".quad ((. - directories) << 18) + 0x83", // 2 MiB each, present, writable
    ".endr",
    "gdt:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "gdt_pointer:",
    ".short 23",
    ".quad gdt",
    ".popsection",
    ".pushsection .bss.stack, \"aw\", @nobits",
    ".balign 16",
    ".skip {stack}",
    "stack_end:",
    ".popsection",
    ".pushsection .text.start, \"ax\"",
    ".code32",
    ".global start",
    "start:",
    "mov esp, offset stack_end",
    "mov edi, ebx", // what GRUB tells
    "lgdt [gdt_pointer]",
    "mov eax, cr4",
    "or eax, 1 << 5", // PAE
    "mov cr4, eax",
    "mov eax, offset root",
    "mov cr3, eax",
    "mov ecx, 0xc0000080", // EFER
    "rdmsr",
    "or eax, (1 << 8) | (1 << 11)", // LME, NXE
    "wrmsr",
    "mov eax, cr0",
    "or eax, (1 << 31) | (1 << 16)", // PG, WP
    "mov cr0, eax",
    ".byte 0xea", // A far jump to 64 bits.
    ".long start_64",
    ".short 0x08",
    ".code64",
    "start_64:",
    "mov ax, 0x10",
    "mov ds, ax",
    "mov es, ax",
    "mov ss, ax",
    "mov edi, edi",
    "xor ebp, ebp",
    "call {kernel}",
    "ud2",
    ".popsection",
    stack = const STACK,
    kernel = sym super::kernel,
);
