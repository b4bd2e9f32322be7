//! What a machine promises, and what happens where a promise is not kept, or none can be made.

mod foreign;
mod list;
mod little_memory;
mod texts;
#[cfg(all(feature = "x86_64", target_arch = "x86_64"))]
mod walks;
mod zeroing;
