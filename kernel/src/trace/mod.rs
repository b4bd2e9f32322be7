//! Trace points of vmalloc, kept in memory: the last events of each CPU.
//!
//! Each CPU has a ring of its own, and writes it with interrupts off: nobody comes in between, and no
//! lock is needed. The rings are made when tracing is turned on for the first time, and stay. Anybody may
//! read them at any time: what is overwritten meanwhile is counted, not shown.

mod dump;
mod ring;
mod slot;

use crate::{
    arch::{cpu, tsc},
    memory,
    sync::Once,
};
use alloc::{collections::TryReserveError, vec::Vec};
use core::sync::atomic::Ordering;
use ring::Ring;
use vmalloc::Event;
use x86_64::instructions::interrupts;

pub use dump::Dump;
pub use ring::RECORDS;

/// By number of the CPU.
static RINGS: Once<Vec<Ring>> = Once::new();

/// An event, when and where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The CPU's time stamp counter, in cycles.
    pub time: u64,
    /// Number of the CPU.
    pub cpu: usize,
    /// What happened.
    pub event: Event,
}

/// Traces the kernel's instance from now on. What was traced before is still there.
///
/// # Errors
/// No memory for the rings.
pub fn start() -> Result<(), TryReserveError> {
    if RINGS.get().is_none() {
        let mut rings = Vec::new();
        for cpu in 0..=cpu::online().iter().last().unwrap_or(0) {
            rings.try_reserve(1)?;
            rings.push(Ring::new(cpu)?);
        }
        RINGS.call_once(|| rings);
    }
    memory::vmalloc().tunables().trace.store(true, Ordering::Relaxed);
    Ok(())
}

/// Traces no more. Calls that are under way may still be traced.
pub fn stop() {
    memory::vmalloc().tunables().trace.store(false, Ordering::Relaxed);
}

/// Forgets what was traced.
pub fn clear() {
    rings().iter().for_each(Ring::clear);
}

/// What was traced until now, on all CPUs, the oldest first. Needs some memory.
pub fn dump() -> Dump<'static> {
    Dump::new(rings())
}

/// Keeps an event in the ring of the CPU this runs on, in any context but that of an NMI.
pub fn record(event: Event) {
    interrupts::without_interrupts(|| {
        if let Some(ring) = rings().get(cpu::current()) {
            ring.push(tsc::now(), event);
        }
    });
}

fn rings() -> &'static [Ring] {
    RINGS.get().map_or(&[], Vec::as_slice)
}
