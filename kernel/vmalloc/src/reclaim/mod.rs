//! Purging, and what an allocation does that ran out of room.

pub(crate) mod directories;
pub(crate) mod notify;
pub(crate) mod purge;
pub(crate) mod records;
pub(crate) mod shortage;
pub(crate) mod stock;
