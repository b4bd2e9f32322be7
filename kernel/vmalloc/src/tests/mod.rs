//! The whole library on a simulated machine whose TLBs forget nothing.

mod calls;
pub(crate) mod machine;
mod reclaim;
pub(crate) mod support;
