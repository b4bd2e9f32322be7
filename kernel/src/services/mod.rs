//! Services: what the kernel does by threads of its own, and what needs threads to be done.
//!
//! | file | what |
//! |---|---|
//! | `rcu` | areas freed after a grace period, by a thread of each CPU |
//! | `deferred` | calls made after a grace period, by one thread |
//! | `purger` | purges, by a thread of each instance |
//! | `reclaim` | frames for who may wait: everybody gives back what is cached for speed |
//! | `experiment` | small instances of vmalloc beside the kernel's own |
//! | `frames` | frames for experiments and benchmarks |
//! | `users` | who has the frames |
//!
//! Each file says who may call it. Locks: wait queues', by the calls of [`threads`](crate::threads); none is taken under them
//! but what waking takes.

pub mod deferred;
mod experiment;
mod frames;
pub mod purger;
pub mod rcu;
pub mod reclaim;
mod users;

pub use experiment::{Experiment, ExperimentError, flushing};
pub use frames::{Frames, TooFewFrames};
pub use users::{Users, users};

/// Starts the threads of the services, and has the kernel's instance ask who can give
/// back. Called once, by the boot sequence, when threads can be.
///
/// # Errors
/// No memory for the threads.
pub(crate) fn init() -> Result<(), purger::StartError> {
    deferred::init()?;
    purger::init()?;
    rcu::init()?;
    reclaim::init();
    Ok(())
}
