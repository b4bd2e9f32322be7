//! Memory: frames, the kernel's vmalloc instance, the heap, stacks, memory of each CPU.
//!
//! | file | what | its lock |
//! |---|---|---|
//! | `heap` | the global allocator | one, with no other |
//! | `percpu` | the same objects for each CPU | one, before those of vmalloc; in no order with others |
//! | `machine`, `pin` | the machine as vmalloc sees it, the kernel's instance, its stacks | those of vmalloc |
//! | `purge_wish` | how an instance asks to be purged in the background | none |
//! | `frames`, `map` | physical frames; the loader's list of them | a magazine, then the buddy's: last of all |
//! | `tables`, `hoard` | page tables counted; frames taken away from everybody | none |
//! | `hooks` | what is asked of the rooms above | none |
//!
//! Locks are taken in the order: those of vmalloc, magazine, buddy. Each file says who may call it; in interrupt
//! handlers only look-ups and `vfree` are allowed.

pub mod frames;
pub mod heap;
mod hoard;
pub mod hooks;
mod machine;
pub mod map;
pub mod percpu;
mod pin;
pub mod purge_wish;
mod tables;

pub use hoard::Hoard;
pub use machine::{Machine, Stack, milliseconds, policy, try_vmalloc, vmalloc};
pub(crate) use machine::{describe_address, init_vmalloc, set_clock};
pub use purge_wish::PurgeWish;
pub(crate) use tables::count as count_tables;
