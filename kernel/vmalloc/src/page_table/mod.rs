//! Page table entries, and the tables above the leaves.

pub(crate) mod directories;
pub(crate) mod entries;
pub(crate) mod entry;
pub(crate) mod flush;
