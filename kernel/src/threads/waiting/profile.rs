//! A profile: where each CPU is, many times a second, counted by address.
//!
//! While a profile is taken, the timer's handler looks where it has interrupted a thread. What runs with interrupts off is
//! seen where it turns them on again; idle CPUs are not counted. Counts are kept for each CPU, in tables that are made for
//! the first profile and stay; only its CPU writes to one.

use crate::{
    arch::{
        cpu::{self, MAX_CPUS},
        interrupts, tsc,
    },
    sync::Once,
};
use alloc::{collections::TryReserveError, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Samples a second of each CPU. No multiple of [`HERTZ`](super::timer::HERTZ), so that what ticks do is not seen alone.
pub const SAMPLES: u64 = 997;

/// Addresses that one CPU tells apart.
const PLACES: usize = 4096;
/// Places that are looked at for an address.
const NEAR: usize = 16;

/// When a CPU's next sample is due; never while no profile is taken. Used by that CPU only.
#[repr(align(64))]
struct Next(AtomicU64);

static NEXT: [Next; MAX_CPUS] = [const { Next(AtomicU64::new(u64::MAX)) }; MAX_CPUS];

static TABLES: Once<Vec<Table>> = Once::new();

/// The counts of one CPU, by a hash of the address.
struct Table {
    places: Vec<Place>,
    lost: AtomicU64,
}

/// An address, 0 if there is none yet, and how often a CPU was there.
#[derive(Default)]
struct Place {
    address: AtomicU64,
    count: AtomicU64,
}

impl Table {
    fn new() -> Result<Self, TryReserveError> {
        let mut places = Vec::new();
        places.try_reserve_exact(PLACES)?;
        places.resize_with(PLACES, Place::default);
        Ok(Self { places, lost: AtomicU64::new(0) })
    }

    fn add(&self, address: u64) {
        let hash = (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        let near = (hash..hash + NEAR).map(|index| &self.places[index % PLACES]);
        let mut free = near.filter(|place| [0, address].contains(&place.address.load(Relaxed)));
        match free.next() {
            Some(place) => {
                place.address.store(address, Relaxed);
                place.count.store(place.count.load(Relaxed) + 1, Relaxed);
            }
            None => self.lost.store(self.lost.load(Relaxed) + 1, Relaxed),
        }
    }
}

fn period() -> u64 {
    (tsc::kilohertz() * 1000 / SAMPLES).max(1)
}

/// Begins to take samples on all CPUs. Those of an earlier profile are forgotten.
///
/// # Errors
/// No memory for the counts.
pub fn start() -> Result<(), TryReserveError> {
    if TABLES.get().is_none() {
        let mut tables = Vec::new();
        for _ in 0..=cpu::online().iter().last().unwrap_or(0) {
            tables.try_reserve(1)?;
            tables.push(Table::new()?);
        }
        TABLES.call_once(|| tables);
    }
    interrupts::call_on_all(|| {
        if let Some(table) = tables().get(cpu::current()) {
            table.places.iter().for_each(|place| place.address.store(0, Relaxed));
            table.places.iter().for_each(|place| place.count.store(0, Relaxed));
            table.lost.store(0, Relaxed);
        }
        NEXT[cpu::current()].0.store(tsc::now() + period(), Relaxed);
        super::timer::set(cpu::current());
    });
    Ok(())
}

/// Takes no more samples.
pub fn stop() {
    interrupts::call_on_all(|| NEXT[cpu::current()].0.store(u64::MAX, Relaxed));
}

/// Gives `sink` the addresses of the samples and how many each has, one CPU after the other. Returns for how many samples
/// there was no room.
pub fn each_sample(mut sink: impl FnMut(u64, u64)) -> u64 {
    for place in tables().iter().flat_map(|table| &table.places) {
        let (address, count) = (place.address.load(Relaxed), place.count.load(Relaxed));
        if count > 0 {
            sink(address, count);
        }
    }
    tables().iter().map(|table| table.lost.load(Relaxed)).sum()
}

fn tables() -> &'static [Table] {
    TABLES.get().map_or(&[], Vec::as_slice)
}

/// Returns when the next sample of a CPU is due.
pub(super) fn next(cpu: usize) -> u64 {
    NEXT[cpu].0.load(Relaxed)
}

/// Called on each interrupt of the timer, which interrupted the code at `place`, a thread's if it `counts`.
pub(super) fn on_timer(cpu: usize, now: u64, place: u64, counts: bool) {
    if now < next(cpu) {
        return;
    }
    // What was missed does not come.
    NEXT[cpu].0.store(now + period(), Relaxed);
    if let Some(table) = tables().get(cpu).filter(|_| counts) {
        table.add(place);
    }
}
