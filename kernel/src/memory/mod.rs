//! Memory: frames, the direct map, the kernel's vmalloc instance, the heap.

pub mod direct_map;
pub mod frames;
pub mod heap;
mod machine;

pub use machine::{Machine, init_vmalloc, try_vmalloc, vmalloc};
