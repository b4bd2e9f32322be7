//! Waiting for something, and for a time.

pub(super) mod sleep;
pub(super) mod timer;
pub(super) mod wait;
