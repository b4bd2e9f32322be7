//! The public calls, a file a family.

pub(crate) mod area;
#[cfg(feature = "collections")]
pub(crate) mod collections;
pub(crate) mod map;
pub(crate) mod protect;
