//! The library's calls on several CPUs at once, in random schedules: what is too long for the models that loom explores.
//!
//! Built with `--cfg shuttle`, the library lets another thread come in before each access to an atomic and before each
//! lock, and the simulated machine has a thread for each CPU. What a CPU wrote into an area it must read there until it
//! frees it; no frame and no table may go back while a CPU can reach it; and in the end everything is back.
//! `TESTING.md` says how a schedule that failed is run again.
#![cfg(shuttle)]
#![allow(clippy::expect_used, reason = "these are tests")]

mod explore;
mod machine;
mod magazines;
mod mixed;
mod pools;
mod purge;
mod quarantine;
mod ram;
mod records;
mod runs;
mod shortage;
