//! `history`: problems that kernels had with vmalloc, the old behaviour beside this one's.
//!
//! Each experiment makes instances of its own, one with the policy of old and one as they are meant to
//! be used, does the same with each, and prints a table. Where a figure is not as it has to be, it fails.
//! Called by the console and by tests, in a thread that may wait; no lock is taken here.

mod area_cache;
mod common;
mod overflow_race;
mod pagetable_free;
mod purge_latency;
mod vmap_exhaust;

use crate::{command::CommandError, println};
use alloc::format;

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
    Experiment { name: NAMES[0], run: area_cache::run },
    Experiment { name: NAMES[1], run: overflow_race::run },
    Experiment { name: NAMES[2], run: vmap_exhaust::run },
    Experiment { name: NAMES[3], run: purge_latency::run },
    Experiment { name: NAMES[4], run: pagetable_free::run },
];

/// The names of the experiments, in the order in which all of them run.
pub const NAMES: &[&str] =
    &["area-cache", "overflow-race", "vmap-exhaust", "purge-latency", "pagetable-free"];

/// The console command.
///
/// # Errors
/// The line names the experiment that there is not, or that did not go as it has to.
pub fn command(arguments: &[&str]) -> Result<(), CommandError> {
    let chosen = match arguments {
        [] => EXPERIMENTS,
        [name] => {
            let index = EXPERIMENTS.iter().position(|experiment| experiment.name == *name);
            let index =
                index.ok_or_else(|| CommandError::unknown("experiment", name, NAMES.iter().copied()))?;
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
