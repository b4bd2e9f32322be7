//! `history`: problems that kernels had with vmalloc, the old behaviour beside this one's.
//!
//! Each experiment makes instances of its own, one with the policy of old and one as they are meant to
//! be used, does the same with each, and prints a table. Where a figure is not as it has to be, it fails.

mod area_cache;
mod overflow_race;
mod pagetable_free;
mod purge_latency;
mod vmap_exhaust;

use crate::{
    arch::cpu::{
        self,
        sections::{self, Kind, Section},
    },
    console::CommandError,
    memory::frames,
    println,
    services::reclaim,
};
use alloc::{format, vec::Vec};
use core::sync::atomic::Ordering;
use vmalloc::Frame;

/// What `help history` says.
pub const ABOUT: &str = "runs an experiment, or all: what went wrong elsewhere once, beside what is done here\n\
    area-cache     cost of an allocation while areas that were freed lazily pile up\n\
    overflow-race  allocations that fail while another CPU makes room\n\
    vmap-exhaust   pages lost to guard pages between blocks\n\
    purge-latency  pages that wait, and how long a CPU is held up, while others free and a thread purges\n\
    pagetable-free how long a CPU is held up by freeing the page tables of a large range";

struct Experiment {
    name: &'static str,
    run: fn() -> Result<(), CommandError>,
}

const EXPERIMENTS: &[Experiment] = &[
    Experiment { name: "area-cache", run: area_cache::run },
    Experiment { name: "overflow-race", run: overflow_race::run },
    Experiment { name: "vmap-exhaust", run: vmap_exhaust::run },
    Experiment { name: "purge-latency", run: purge_latency::run },
    Experiment { name: "pagetable-free", run: pagetable_free::run },
];

/// The console command.
///
/// # Errors
/// The line names the experiment that there is not, or that did not go as it has to.
pub fn command(arguments: &[&str]) -> Result<(), CommandError> {
    let chosen = match arguments {
        [] => EXPERIMENTS,
        [name] => {
            let index = EXPERIMENTS.iter().position(|experiment| experiment.name == *name);
            let index = index.ok_or_else(|| CommandError::new(format!("{name}: no such experiment")))?;
            &EXPERIMENTS[index..=index]
        }
        [_, extra, ..] => {
            return Err(CommandError::new(format!("runs one experiment or all, not {extra} too")));
        }
    };
    for experiment in chosen {
        println!("{}:", experiment.name);
        (experiment.run)().map_err(|error| CommandError::new(format!("{}: {error}", experiment.name)))?;
    }
    Ok(())
}

/// Runs `body` with sections measured: what it gives, and the longest section of any CPU with preemption off.
fn metered<T>(body: impl FnOnce() -> T) -> (T, Option<Section>) {
    let before = sections::switch().swap(1, Ordering::Relaxed);
    sections::reset();
    let result = body();
    let all = cpu::online().iter().filter_map(|cpu| sections::longest(Kind::Preemption, cpu));
    let longest = all.max_by_key(|section| section.cycles);
    sections::switch().store(before, Ordering::Relaxed);
    (result, longest)
}

/// An experiment that could not be made.
fn failed(error: impl core::fmt::Display) -> CommandError {
    CommandError::new(format!("{error}"))
}

/// Frames of the experiment's own; they go back when dropped, by when nobody maps them any more.
struct Frames(Vec<Frame>);

impl Frames {
    fn take(count: usize) -> Result<Self, CommandError> {
        let mut list = Vec::new();
        list.try_reserve_exact(count).map_err(failed)?;
        let taken = reclaim::take(count, |frame| list.push(frame));
        let frames = Self(list);
        if taken < count { Err(CommandError::new("out of frames")) } else { Ok(frames) }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: `take` took them, and nobody maps them any more.
        unsafe { frames::give(self.0.drain(..)) };
    }
}
