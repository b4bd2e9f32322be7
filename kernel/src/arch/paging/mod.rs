//! The kernel's page tables: building them at boot, looking up what they say, and the direct map of all frames.
//!
//! What vmalloc maps later the library writes. `bringup` builds the tables; anybody may look up, and use the direct map.
//! No lock is taken.

pub mod direct_map;
mod lookup;
mod tables;

pub use lookup::{Mapping, lookup, physical};
pub(crate) use tables::{BuildError, Tables};
