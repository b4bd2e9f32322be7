//! A profile: where each CPU is, many times a second, counted by address.
//!
//! While a profile is taken, the timer's handler looks where it has interrupted a thread. What runs with interrupts off is
//! seen where it turns them on again; idle CPUs are not counted. Each CPU counts in a table of its own, under a lock that
//! others take at the beginning and at the end.

use crate::{
    arch::{
        cpu::{self, MAX_CPUS},
        interrupts, tsc,
    },
    sync::{Class, IrqLock},
};
use alloc::{collections::TryReserveError, vec::Vec};
use core::{
    mem,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

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

static CLASS: Class = Class::new("samples of a CPU");
static TABLES: [IrqLock<Table>; MAX_CPUS] = [const { IrqLock::new(&CLASS, Table::new()) }; MAX_CPUS];

/// The counts of one CPU.
struct Table {
    /// By a hash of the address; empty while no profile is taken.
    places: Vec<Place>,
    lost: u64,
}

/// An address, 0 if there is none yet, and how often the CPU was there.
#[derive(Clone, Default)]
struct Place {
    address: u64,
    count: u64,
}

impl Table {
    const fn new() -> Self {
        Self { places: Vec::new(), lost: 0 }
    }

    fn add(&mut self, address: u64) {
        if self.places.is_empty() {
            return;
        }
        let hash = (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        let mut near = (hash..hash + NEAR).map(|index| index % PLACES);
        match near.find(|&index| [0, address].contains(&self.places[index].address)) {
            Some(index) => {
                self.places[index].address = address;
                self.places[index].count += 1;
            }
            None => self.lost += 1,
        }
    }
}

/// A profile that is being taken, until it is [stopped](Self::stop). There is one at a time: a second one begins anew.
#[derive(Debug)]
pub struct Profile(());

/// What a profile has seen.
pub struct Samples(Vec<Table>);

impl Profile {
    /// Begins to take samples on all CPUs.
    ///
    /// # Errors
    /// No memory for the counts.
    pub fn start() -> Result<Self, TryReserveError> {
        let this = Self(());
        for cpu in cpu::online().iter() {
            let mut places = Vec::new();
            places.try_reserve_exact(PLACES)?;
            places.resize(PLACES, Place::default());
            let before = mem::replace(&mut *TABLES[cpu].lock(), Table { places, lost: 0 });
            drop(before);
        }
        interrupts::call_on_all(|| {
            let cpu = cpu::current();
            NEXT[cpu].0.store(tsc::now() + period(), Relaxed);
            super::timer::set(cpu);
        });
        Ok(this)
    }

    /// Ends the profile.
    #[must_use]
    pub fn stop(self) -> Samples {
        let take = |cpu: usize| mem::replace(&mut *TABLES[cpu].lock(), Table::new());
        Samples(cpu::online().iter().map(take).collect())
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        interrupts::call_on_all(|| NEXT[cpu::current()].0.store(u64::MAX, Relaxed));
        for cpu in cpu::online().iter() {
            let table = mem::replace(&mut *TABLES[cpu].lock(), Table::new());
            drop(table);
        }
    }
}

impl Samples {
    /// Returns the addresses of the samples, and how many each has, one CPU after the other.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let places = self.0.iter().flat_map(|table| &table.places).filter(|place| place.count > 0);
        places.map(|place| (place.address, place.count))
    }

    /// Returns for how many samples there was no room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.iter().map(|table| table.lost).sum()
    }
}

fn period() -> u64 {
    (tsc::kilohertz() * 1000 / SAMPLES).max(1)
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
    if counts {
        TABLES[cpu].lock().add(place);
    }
}
