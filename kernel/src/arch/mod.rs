//! What is x86-64: CPUs, descriptor tables, exceptions, page tables, TLB, time.

pub mod cpu;
pub mod exceptions;
pub mod gdt;
pub mod idt;
pub mod layout;
pub mod paging;
pub mod tlb;
pub mod tsc;
