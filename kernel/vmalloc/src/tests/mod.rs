//! The whole library on a simulated machine whose TLBs forget nothing.

pub(crate) mod basics;
pub(crate) mod broadcast;
pub(crate) mod cached;
pub(crate) mod calls;
pub(crate) mod congruent;
pub(crate) mod failures;
pub(crate) mod guard_below;
pub(crate) mod interrupts;
pub(crate) mod isolated;
pub(crate) mod machine;
pub(crate) mod others;
pub(crate) mod policy;
pub(crate) mod purge;
pub(crate) mod ram;
pub(crate) mod records;
pub(crate) mod refusals;
pub(crate) mod resize;
pub(crate) mod shortage;
pub(crate) mod split;
pub(crate) mod stock;
pub(crate) mod trace;
