//! CPUs, interrupts and threads.

mod cpus;
mod handlers;
mod invlpgb;
mod isolated;
mod late_flushes;
mod latency;
mod pins;
mod profile;
mod threads;
