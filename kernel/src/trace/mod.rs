//! Trace points of vmalloc, kept in memory: the last events of each CPU.
//!
//! Each CPU has a ring of its own, and writes it with interrupts off: nobody comes in between, and no
//! lock is needed. The rings are made when tracing is turned on for the first time, and stay. Anybody may
//! read them at any time: what is overwritten meanwhile is counted, not shown. Whether there are events is the tunable
//! `trace` of the instance that has them.

mod dump;
mod ring;
mod slot;

use crate::{
    arch::{cpu, tsc},
    sync::Once,
};
use alloc::{collections::TryReserveError, vec::Vec};
use ring::Ring;
use vmalloc::Event;
use x86_64::instructions::interrupts;

pub use dump::Dump;
pub use ring::{RECORDS, Record};

/// By number of the CPU.
static RINGS: Once<Vec<Ring>> = Once::new();

/// Makes the rings, if there are none yet. Until then nothing is kept.
///
/// # Errors
/// No memory for the rings.
pub fn make_rings() -> Result<(), TryReserveError> {
    if RINGS.get().is_none() {
        let mut rings = Vec::new();
        for cpu in 0..=cpu::online().iter().last().unwrap_or(0) {
            rings.try_reserve(1)?;
            rings.push(Ring::new(cpu)?);
        }
        RINGS.call_once(|| rings);
    }
    Ok(())
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
