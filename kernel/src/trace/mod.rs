//! Trace points of vmalloc: kept in memory, the last events of each CPU, or written to a stream, all of them.
//!
//! | file | what |
//! |---|---|
//! | `ring`, `slot`, `dump` | the last events of each CPU, read without a lock |
//! | `stream` | all events, as the text of `ftrace`, to whoever takes them |
//! | `ftrace`, `perfetto` | events as other tools read them |
//!
//! Each CPU has a ring of its own, and writes it with interrupts off: nobody comes in between, and no
//! lock is needed. The rings are made when tracing is turned on for the first time, and stay. Anybody may
//! read them at any time: what is overwritten meanwhile is counted, not shown. The stream has a lock, under which no other is
//! taken but that of the device that it goes to. Whether there are events is asked of the instance that has them.

mod dump;
pub mod ftrace;
pub mod perfetto;
mod ring;
mod slot;
pub mod stream;
mod who;

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
pub use who::Who;

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

/// Keeps an event in the ring of the CPU this runs on, or writes it to the stream if there is one, in any context but that
/// of an NMI.
pub fn record(event: Event, who: Who) {
    interrupts::without_interrupts(|| {
        if stream::write(event, who) {
            return;
        }
        if let Some(ring) = rings().get(cpu::current()) {
            ring.push(tsc::now(), who, event);
        }
    });
}

fn rings() -> &'static [Ring] {
    RINGS.get().map_or(&[], Vec::as_slice)
}
