//! The console's `history`: five experiments.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::bench::ours::{self, ICOUNT_SHIFT, MEMORY, Machines};
use crate::status::Result;

use super::{Experiment, columns, table};

/// How a line of samples begins.
pub const SAMPLES: &str = "us:pages ";

/// CPUs of the experiments that need several.
const CPUS: u16 = 2;
/// Samples of pages that wait: about a tenth of a second.
const SAMPLE_COUNT: usize = 1000;

/// All experiments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct History {
    /// Searching for address space while lazily freed areas pile up.
    pub area_cache: Experiment<Pile>,
    /// Allocations that fail while another CPU makes room.
    pub overflow_race: Experiment<Race>,
    /// Pages lost to guard pages between blocks.
    pub vmap_exhaust: Experiment<Filled>,
    /// Pages that wait while a thread purges.
    pub purge_latency: Experiment<Purged>,
    /// The page tables of a large range freed.
    pub pagetable_free: Experiment<Freed>,
}

/// Costs of an allocation over a pile of lazily freed areas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pile {
    /// Lazily freed areas.
    pub pile: u64,
    /// Steps of a search that begins at the start of the range.
    pub steps_from_start: f64,
    /// Instructions of that allocation.
    pub instructions_from_start: f64,
    /// Steps of a search that begins where the last one ended.
    pub steps_cached: f64,
    /// Instructions of that allocation.
    pub instructions_cached: f64,
}

/// Allocations from a range that others fill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// What an allocation does before it fails.
    pub rule: String,
    /// Allocations.
    pub allocations: u64,
    /// Allocations that found no room at first.
    pub overflows: u64,
    /// Allocations that failed.
    pub failures: u64,
}

/// Pages mapped one by one until the range was full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// Where guard pages are.
    pub guards: String,
    /// Pages mapped.
    pub mapped: u64,
    /// Pages that showed what they should.
    pub right: u64,
    /// Pages mapped after all were unmapped.
    pub again: u64,
}

/// Pages that waited while all CPUs freed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Purged {
    /// When the purge lets others run.
    pub policy: String,
    /// Pages from which on a purge is wanted.
    pub lazy_max: u64,
    /// Most pages that waited, in multiples of `lazy_max`.
    pub peak: f64,
    /// The experiment was ended because too many waited.
    pub ran_away: bool,
    /// Purges.
    pub purges: u64,
    /// Microseconds of the longest section with preemption off.
    pub longest: u64,
    /// Pages that waited, at microseconds after the start; kept as they are printed.
    #[serde(serialize_with = "write_samples", deserialize_with = "read_samples")]
    pub samples: Vec<(u64, i64)>,
}

/// The page tables of a large range freed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Freed {
    /// In which pieces.
    pub pieces: String,
    /// Page tables.
    pub tables: u64,
    /// Flushes of all translations.
    pub flushes: u64,
    /// Instructions of the longest section with preemption off.
    pub instructions: f64,
}

/// Runs all experiments; what they print goes to `text` too.
///
/// # Errors
/// A machine could not be started, or a signal wants this program to end.
pub fn run(machines: &Machines, text: &mut String) -> Result<History> {
    let exact = ours::counted(ICOUNT_SHIFT, MEMORY);
    // Where instructions are counted CPUs take turns, and would seldom meet.
    let at_once = ours::emulated(CPUS, MEMORY);
    let purges = format!("history purge-latency samples={SAMPLE_COUNT}");
    Ok(History {
        area_cache: super::run(machines, &exact, "history area-cache", text, piles)?,
        overflow_race: super::run(machines, &at_once, "history overflow-race", text, races)?,
        vmap_exhaust: super::run(machines, &exact, "history vmap-exhaust", text, filled)?,
        purge_latency: super::run(machines, &at_once, &purges, text, purged)?,
        pagetable_free: super::run(machines, &exact, "history pagetable-free", text, freed)?,
    })
}

impl History {
    /// The experiments that went wrong, and how.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("area-cache", self.area_cache.failed()),
            ("overflow-race", self.overflow_race.failed()),
            ("vmap-exhaust", self.vmap_exhaust.failed()),
            ("purge-latency", self.purge_latency.failed()),
            ("pagetable-free", self.pagetable_free.failed()),
        ];
        all.into_iter().filter_map(|(name, why)| Some((name, why?)))
    }
}

/// A cycle of the time stamp counter is a nanosecond where instructions are counted.
fn instructions(cycles: &str) -> Option<f64> {
    Some(cycles.parse::<f64>().ok()? / f64::from(1 << ICOUNT_SHIFT))
}

fn piles(text: &str) -> std::result::Result<Vec<Pile>, String> {
    table(text, 4, |line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [pile, from_start, cached, "equal"] = cells[..] else { return None };
        let (_, [steps_from_start, cycles_from_start]) = columns(from_start)?;
        let (_, [steps_cached, cycles_cached]) = columns(cached)?;
        Some(Pile {
            pile: pile.parse().ok()?,
            steps_from_start: steps_from_start.parse().ok()?,
            instructions_from_start: instructions(cycles_from_start)?,
            steps_cached: steps_cached.parse().ok()?,
            instructions_cached: instructions(cycles_cached)?,
        })
    })
}

fn races(text: &str) -> std::result::Result<Vec<Race>, String> {
    table(text, 3, |line| {
        let (rule, [allocations, overflows, failures]) = columns(line)?;
        let (allocations, overflows) = (allocations.parse().ok()?, overflows.parse().ok()?);
        Some(Race { rule, allocations, overflows, failures: failures.parse().ok()? })
    })
}

fn filled(text: &str) -> std::result::Result<Vec<Filled>, String> {
    table(text, 3, |line| {
        let (guards, [mapped, right, again]) = columns(line)?;
        let (mapped, right) = (mapped.parse().ok()?, right.parse().ok()?);
        Some(Filled { guards, mapped, right, again: again.parse().ok()? })
    })
}

fn purged(text: &str) -> std::result::Result<Vec<Purged>, String> {
    let lazy_max = text.lines().nth(1).and_then(|line| {
        let (_, rest) = line.split_once("lazy_max is ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    let lazy_max: u64 = lazy_max.ok_or("printed no lazy_max")?;
    let (samples, rows): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with(SAMPLES));
    let mut rows = table(&rows.join("\n"), 3, |line| {
        let (line, _) = line.split_once(" us, from ")?;
        let (name, [purges, longest]) = columns(line)?;
        let (name, ran_away) = name.strip_suffix(", stopped").map_or((&*name, false), |name| (name, true));
        let (policy, [peak]) = columns(name)?;
        let (peak, purges, longest) = (peak.parse().ok()?, purges.parse().ok()?, longest.parse().ok()?);
        Some(Purged { policy, lazy_max, peak, ran_away, purges, longest, samples: Vec::new() })
    })?;
    if samples.len() != rows.len() {
        return Err(format!("printed {} lines of samples for {} policies", samples.len(), rows.len()));
    }
    for (row, line) in rows.iter_mut().zip(samples) {
        row.samples = samples_of(&line[SAMPLES.len()..]).ok_or("printed samples that are none")?;
    }
    Ok(rows)
}

/// Reads `us:pages us:pages ...`.
fn samples_of(text: &str) -> Option<Vec<(u64, i64)>> {
    let words = text.split_whitespace().map(|word| {
        let (at, waiting) = word.split_once(':')?;
        Some((at.parse().ok()?, waiting.parse().ok()?))
    });
    words.collect()
}

fn read_samples<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<(u64, i64)>, D::Error> {
    let text = String::deserialize(deserializer)?;
    samples_of(&text).ok_or_else(|| de::Error::custom("samples that are none"))
}

fn write_samples<S: Serializer>(
    samples: &[(u64, i64)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let words: Vec<String> = samples.iter().map(|(at, waiting)| format!("{at}:{waiting}")).collect();
    words.join(" ").serialize(serializer)
}

fn freed(text: &str) -> std::result::Result<Vec<Freed>, String> {
    table(text, 3, |line| {
        let (line, _) = line.split_once(" cycles (")?;
        let (pieces, [tables, flushes, cycles]) = columns(line)?;
        let (tables, flushes) = (tables.parse().ok()?, flushes.parse().ok()?);
        Some(Freed { pieces, tables, flushes, instructions: instructions(cycles)? })
    })
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
