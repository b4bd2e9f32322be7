//! What is x86-64: CPUs, descriptor tables, exceptions, interrupts, page tables, TLB, time.

pub(crate) mod acpi;
pub mod apic;
pub(crate) mod clocks;
pub mod controls;
pub mod cpu;
pub mod cpu_set {
    //! Sets of CPUs.

    pub use vmalloc::{CpuSet, ListError};
}
pub(crate) mod exceptions;
pub(crate) mod gdt;
pub(crate) mod idt;
pub mod interrupt_flag;
pub mod interrupts;
pub mod invlpgb;
pub mod ioapic;
pub mod layout;
pub mod paging;
pub mod sections;
pub mod smp;
pub mod soft_off;
pub(crate) mod stack;
pub mod tlb;
pub(crate) mod trampoline;
pub mod tsc;
mod tsc_sync;
