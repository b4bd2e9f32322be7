//! CPUs, interrupts and threads.

mod cpus;
mod handlers;
mod invlpgb;
mod isolated;
mod latency;
mod threads;
