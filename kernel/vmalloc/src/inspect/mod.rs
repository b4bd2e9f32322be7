//! Looking at what is allocated, and counting it.

pub(crate) mod find;
pub(crate) mod read;
pub(crate) mod stats;
