//! The whole library on a simulated machine whose TLBs forget nothing; and, with loom's atomics in the place of the
//! machine's, parts of it in every interleaving of a few CPUs.

#[cfg(not(loom))]
mod calls;
#[cfg(not(loom))]
mod check;
#[cfg(not(loom))]
mod cpus;
#[cfg(not(loom))]
mod fast;
#[cfg(not(loom))]
mod huge;
#[cfg(not(loom))]
mod idle;
#[cfg(loom)]
pub(crate) mod interleavings;
#[cfg(not(loom))]
pub(crate) use crate::host as machine;
#[cfg(not(loom))]
mod magazines;
#[cfg(not(loom))]
mod map;
#[cfg(not(loom))]
mod oracle;
#[cfg(not(loom))]
mod owned;
#[cfg(not(loom))]
mod promises;
#[cfg(not(loom))]
mod quarantine;
#[cfg(not(loom))]
pub(crate) mod random;
#[cfg(not(loom))]
mod reclaim;
#[cfg(not(loom))]
mod slack;
#[cfg(not(loom))]
pub(crate) mod support;
#[cfg(not(loom))]
mod told;
#[cfg(not(loom))]
mod watch;
