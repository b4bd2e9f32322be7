//! Services: what the kernel does by threads of its own.

mod experiment;
pub mod purger;
pub mod rcu;
pub mod reclaim;

pub use experiment::Experiment;
