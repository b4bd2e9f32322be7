//! Vmap blocks: their descriptors, pages and leaf tables.

pub(crate) mod bitmap;
pub(crate) mod block;
pub(crate) mod open;
pub(crate) mod pages;
pub(crate) mod split;
pub(crate) mod table;
