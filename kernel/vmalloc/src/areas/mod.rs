//! Areas inside a block, areas of whole blocks, and those that are cached.

pub(crate) mod cached;
pub(crate) mod congruent;
pub(crate) mod populate;
pub(crate) mod ram;
pub(crate) mod realloc;
pub(crate) mod resize;
pub(crate) mod run;
pub(crate) mod small;
