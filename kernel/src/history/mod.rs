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
    pagetable-free how long a CPU is held up by freeing the page tables of a large range\n\
    history purge-latency samples=N also prints how many pages waited at the first N times, as us:pages";

struct Experiment {
    name: &'static str,
    run: Run,
}

/// How an experiment is run.
enum Run {
    /// It prints a table.
    Table(fn() -> Result<(), CommandError>),
    /// It prints a table, and so many samples over time.
    Sampled(fn(usize) -> Result<(), CommandError>),
}

const EXPERIMENTS: &[Experiment] = &[
    Experiment { name: NAMES[0], run: Run::Table(area_cache::run) },
    Experiment { name: NAMES[1], run: Run::Table(overflow_race::run) },
    Experiment { name: NAMES[2], run: Run::Table(vmap_exhaust::run) },
    Experiment { name: NAMES[3], run: Run::Sampled(purge_latency::run) },
    Experiment { name: NAMES[4], run: Run::Table(pagetable_free::run) },
];

/// The names of the experiments, in the order in which all of them run.
pub const NAMES: &[&str] =
    &["area-cache", "overflow-race", "vmap-exhaust", "purge-latency", "pagetable-free"];

/// Samples that may be asked for: they are printed on the serial line.
const MOST_SAMPLES: usize = 10_000;

/// The console command.
///
/// # Errors
/// The line names the experiment that there is not, or that did not go as it has to, or the word that is wrong.
pub fn command(arguments: &[&str]) -> Result<(), CommandError> {
    let (chosen, samples) = match arguments {
        [] => (EXPERIMENTS, None),
        [name] => (named(name)?, None),
        [name, word] if word.starts_with("samples=") => (named(name)?, Some(samples(word)?)),
        [_, extra, ..] => {
            return Err(CommandError::new(format!("runs one experiment or all, not {extra} too")));
        }
    };
    for experiment in chosen {
        println!("{}:", experiment.name);
        let ran = match (&experiment.run, samples) {
            (Run::Table(run), None) => run(),
            (Run::Sampled(run), samples) => run(samples.unwrap_or(0)),
            (Run::Table(_), Some(_)) => Err(CommandError::new("takes no samples")),
        };
        ran.map_err(|error| CommandError::new(format!("{}: {error}", experiment.name)))?;
    }
    Ok(())
}

/// The one experiment of this name.
fn named(name: &str) -> Result<&'static [Experiment], CommandError> {
    let index = EXPERIMENTS.iter().position(|experiment| experiment.name == name);
    let index = index.ok_or_else(|| CommandError::unknown("experiment", name, NAMES.iter().copied()))?;
    Ok(&EXPERIMENTS[index..=index])
}

/// The number in `samples=N`.
fn samples(word: &str) -> Result<usize, CommandError> {
    let count = word.strip_prefix("samples=").and_then(|count| count.parse().ok());
    let count = count.filter(|count| (1..=MOST_SAMPLES).contains(count));
    count.ok_or_else(|| CommandError::new(format!("{word}: not a number from 1 to {MOST_SAMPLES}")))
}
