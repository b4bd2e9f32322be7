//! Types that own what they were given, and give it back when they are dropped. Each is built on the public
//! calls, which remain for those who would rather use them.
//!
//! [`Area`] owns an area, [`Stack`] an area with guard pages at both ends. With the feature `collections` a `VBox` and a
//! `VVec` are collections in areas; with the feature `heap` a `Heap` serves as a
//! kernel's global allocator; with the feature `mmio` an `Mmio` owns a device's registers.

mod area;
#[cfg(feature = "collections")]
mod collections;
#[cfg(all(feature = "heap", not(loom)))]
mod heap;
#[cfg(feature = "mmio")]
mod mmio;
mod stack;

pub use area::Area;
#[cfg(feature = "collections")]
pub use collections::{VBox, VVec};
#[cfg(all(feature = "heap", not(loom)))]
pub use heap::{Heap, Usage};
#[cfg(feature = "mmio")]
pub use mmio::Mmio;
pub use stack::Stack;
