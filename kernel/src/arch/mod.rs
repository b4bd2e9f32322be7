//! What is x86-64, and knows nothing of the kernel: CPUs, descriptor tables, exceptions, interrupts, page tables, TLB,
//! time, and the address map.
//!
//! | folder, file | what |
//! |---|---|
//! | `interrupts`, `paging` | exceptions and interrupts; page tables and the direct map |
//! | `tlb` | making CPUs forget translations |
//! | `apic` | interrupts sent to other CPUs, and each CPU's timer |
//! | `cpu` | which CPU this is, and what keeps others from it |
//! | `tsc`, `layout`, `stays` | time; the address map; what stays on its CPU |
//! | `hook`, `hooks` | what is asked of the rooms above |
//!
//! Each row uses those below it. All rooms may call what is here. The kernel's locks are above; the one lock here is in
//! `interrupts/calls.rs`.

pub mod apic;
pub mod cpu;
pub mod cpu_set {
    //! Sets of CPUs.

    pub use vmalloc::{CpuSet, ListError};
}
pub mod hook;
pub mod hooks;
pub mod interrupts;
pub mod layout;
pub mod paging;
mod stays;
pub mod tlb;
pub mod tsc;
