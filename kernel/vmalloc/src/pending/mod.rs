//! What was unmapped and waits for a flush.

pub(crate) mod deferred;
pub(crate) mod lazy;
pub(crate) mod list;
