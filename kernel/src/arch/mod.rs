//! What is x86-64: CPUs, descriptor tables, exceptions, interrupts, page tables, TLB, time.

pub mod apic;
pub mod cpu;
pub mod cpu_set {
    //! Sets of CPUs.

    pub use vmalloc::{CpuSet, ListError};
}
pub mod interrupts;
pub mod layout;
pub mod paging;
pub mod tlb;
pub mod tsc;
