//! What the kernel makes of its memory.

mod check;
mod frames;
mod heap;
mod machine;
mod memory_map;
mod page_tables;
mod percpu;
mod rcu;
