//! A CPU's supply of pages.

pub(crate) mod ahead;
pub(crate) mod bins;
pub(crate) mod pool;
