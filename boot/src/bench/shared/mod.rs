//! What several CPUs do and cost each other a loop, counted by QEMU's plugin in `bench/counter`.
//!
//! Each CPU has a thread of its own in the emulator (`thread=multi`), so the CPUs' accesses mix as finely as on a real
//! machine, and no two runs are the same; hence the median of some runs, and the range. On one thread (`thread=single`)
//! a CPU runs many loops before the next one's turn comes, and lines move at the turns only: such figures hide what is
//! shared.

pub mod counts;
pub mod model;

use std::fs;
use std::path::Path;

use crate::machine::emulator;
use crate::machine::options::{Options, PROGRAM, Words};
use crate::scratch::Scratch;
use crate::status::{Doing, Error, Result};
use crate::{cargo, places};

use super::cases::{FIX_SIZE, Subject, VM_MAP_RAM};
use super::figure::{Conditions, Figure, Outcome, Part, System};
use super::linux::Linux;
use super::ours::{self, MEMORY, Machines, Reply};
use super::{summary, timed};
use counts::{KINDS, PerLoop, Snapshot};

/// CPUs of the machines, with a worker for each.
pub const CPUS: [u16; 2] = [2, 4];

/// The cases, and the loops of a worker in the shorter of the two runs whose difference counts: here, and on Linux.
const CASES: [(u64, u64, u64); 5] = [
    (FIX_SIZE, 10_000, 5_000),
    (2, 20_000, 10_000),
    (4, 2_000, 1_000),
    (8, 3_000, 2_000),
    // A CPU uses up a block in 512 loops, and a purge waits for some thirty.
    (VM_MAP_RAM, 100_000, 10_000),
];

/// The longer run has so many times the loops of the shorter one.
const LONGER: u64 = 5;

/// Times that each pair of runs is made.
const ROUNDS: usize = 3;

/// The plugin's file.
const COUNTS: &str = "counts";

/// What a round gave for a case, or why it gave nothing.
type Counted = std::result::Result<PerLoop, Outcome>;

/// Counts all cases on each machine.
///
/// # Errors
/// The plugin does not build, a machine could not be started, or a signal wants this program to end.
pub fn run(machines: &Machines, linux: Option<&Linux>) -> Result<Vec<Figure>> {
    let counter = Counter::new()?;
    let refused = counter.refused()?;
    let mut figures = Vec::new();
    for cpus in CPUS {
        let options = ours::emulated(cpus, MEMORY);
        let conditions = counter.conditions(&options, cpus);
        let (mut here, mut there) =
            ([const { Vec::new() }; CASES.len()], [const { Vec::new() }; CASES.len()]);
        if let Some(left_out) = &refused {
            let rounds = [Err(Outcome::Left { left_out: left_out.clone() })];
            for (case, loops, _) in CASES {
                figures.extend(of_rounds(&figure(System::Here, case, loops, &conditions), &rounds));
            }
            continue;
        }
        for round in 1..=ROUNDS {
            let progress =
                |system| eprintln!("bench: {system}round {round} of {ROUNDS}, CPUs: {cpus}, counted");
            progress(System::Here);
            let counted = round_here(cpus, |commands| {
                counter.count(&options, |options| machines.run(options, commands))
            })?;
            here.iter_mut().zip(counted).for_each(|(case, counted)| case.push(counted));
            if let Some(linux) = linux.filter(|_| has_cpus(cpus)) {
                progress(System::Linux);
                let counted = round_on_linux(cpus, |parameters, name| {
                    counter.count(&options, |options| linux.run(options, parameters, &[name]))
                })?;
                there.iter_mut().zip(counted).for_each(|(case, counted)| case.push(counted));
            }
        }
        for (index, (case, loops, loops_on_linux)) in CASES.into_iter().enumerate() {
            figures.extend(of_rounds(&figure(System::Here, case, loops, &conditions), &here[index]));
            if linux.is_some() {
                if !has_cpus(cpus) {
                    let left_out = format!("needs a computer of {cpus} CPUs");
                    there[index].push(Err(Outcome::Left { left_out }));
                }
                let figure = figure(System::Linux, case, loops_on_linux, &conditions);
                figures.extend(of_rounds(&figure, &there[index]));
            }
        }
    }
    Ok(figures)
}

/// Whether this computer has so many CPUs. With fewer, Linux's CPUs wait most of the time for those that hold a lock and
/// do not run: on 2 of them, 3000 loops of case 2 on 4 emulated CPUs took 42 seconds, and with the plugin did not end.
fn has_cpus(cpus: u16) -> bool {
    std::thread::available_parallelism().is_ok_and(|there| there.get() >= cpus.into())
}

/// A figure of which the unit and the outcome are yet to come.
fn figure(system: System, case: u64, loops: u64, conditions: &Conditions) -> Figure {
    Figure {
        part: Part::Shared,
        system,
        subject: Subject::new(case),
        conditions: conditions.clone(),
        loops: vec![loops, loops * LONGER],
        rounds: ROUNDS,
        unit: String::new(),
        recorded: false,
        outcome: Outcome::Failed { failed: String::new() },
        range: None,
    }
}

/// The plugin, and QEMU that runs it.
struct Counter {
    plugin: String,
    /// QEMU's version, as a number.
    qemu: String,
}

impl Counter {
    /// Builds the plugin.
    fn new() -> Result<Self> {
        let path = cargo::counter()?;
        let version = emulator::version(PROGRAM)?;
        let qemu = version.split(' ').next().unwrap_or_default().to_owned();
        Ok(Self { plugin: word(&path)?, qemu })
    }

    /// What is to be said of figures from such a machine.
    fn conditions(&self, options: &Options, workers: u16) -> Conditions {
        let plain = ours::conditions(options, workers);
        let accelerator = format!("{}, QEMU {}, counted by its plugin", plain.accelerator, self.qemu);
        Conditions { accelerator, ..plain }
    }

    /// Why QEMU does not take the plugin, if it does not.
    fn refused(&self) -> Result<Option<String>> {
        let folder = Scratch::within(&places::target_folder("runs")?)?;
        let options = self.with(&ours::emulated(1, MEMORY), &folder.path().join(COUNTS))?;
        let words = emulator::refusal(&options)?;
        Ok(words.map(|words| format!("QEMU {} does not take the plugin: {words}", self.qemu)))
    }

    /// The machine with the plugin, which writes its counts to the file.
    fn with(&self, options: &Options, file: &Path) -> Result<Options> {
        let mut options = options.clone();
        let plugin = format!("file={},out={}", self.plugin, word(file)?);
        options.qemu.more.push(Words(vec!["-plugin".into(), plugin]));
        Ok(options)
    }

    /// Has the machine run with the plugin: what it printed, and what was counted.
    fn count(&self, options: &Options, run: impl FnOnce(&Options) -> Result<Reply>) -> Result<Ran> {
        let folder = Scratch::within(&places::target_folder("runs")?)?;
        let file = folder.path().join(COUNTS);
        let text = match run(&self.with(options, &file)?)? {
            Reply::Done(text) => text,
            Reply::Failed(failed) => return Ok(Err(Outcome::Failed { failed })),
        };
        let counts = fs::read_to_string(&file).doing("read what QEMU's plugin counted")?;
        Ok(counts::snapshots(&counts).map(|snapshots| (text, snapshots)).map_err(failure))
    }
}

/// A path within a list of QEMU's options, where a doubled comma is one of the path's.
fn word(path: &Path) -> Result<String> {
    let text = path.to_str();
    text.map(|text| text.replace(',', ",,"))
        .ok_or_else(|| Error::failed(format!("{}: QEMU's plugins need a path in UTF-8", path.display())))
}

fn failure(failed: impl Into<String>) -> Outcome {
    Outcome::Failed { failed: failed.into() }
}

/// What a machine printed and the plugin counted, or why there is nothing.
type Ran = std::result::Result<(String, Vec<Snapshot>), Outcome>;

/// A round of all cases on one machine. Each case runs three times: to warm up, and twice with other loops. The console's
/// `mark` has the plugin note where each run begins and ends.
fn round_here(cpus: u16, run: impl FnOnce(String) -> Result<Ran>) -> Result<[Counted; CASES.len()]> {
    let commands = CASES.map(|(case, loops, _)| {
        let run = |loops| Subject::new(case).commands(loops, cpus);
        let (few, many) = (run(loops), run(loops * LONGER));
        format!("{few}; mark; {few}; mark; {many}; mark")
    });
    let (text, snapshots) = match run(commands.join("; "))? {
        Ok(counted) => counted,
        Err(outcome) => return Ok(CASES.map(|_| Err(outcome.clone()))),
    };
    let runs = summary::runs(&text);
    let mut index = 0;
    Ok(CASES.map(|(case, loops, _)| {
        let at = index;
        index += 3;
        let runs = runs.get(at..at + 3).ok_or_else(|| failure("printed too little"))?;
        for run in runs {
            run.usec(Subject::new(case).name).map_err(failure)?;
        }
        let Some(&[begin, middle, end]) = snapshots.get(at..at + 3) else {
            return Err(failure("made too few marks"));
        };
        let more = loops * (LONGER - 1) * u64::from(cpus);
        Ok(counts::per_loop([begin, middle], [middle, end], more))
    }))
}

/// A round of all cases on Linux, which makes no marks: a machine for each run, counted from its start to its end.
fn round_on_linux(
    cpus: u16,
    run: impl Fn(&[(&'static str, u64)], &'static str) -> Result<Ran>,
) -> Result<[Counted; CASES.len()]> {
    let mut rounds = Vec::new();
    for (case, _, loops) in CASES {
        let subject = Subject::new(case);
        let whole = |loops| {
            let counted = run(&subject.parameters(loops, cpus), subject.name)?;
            Ok(counted.and_then(|(text, snapshots)| {
                let run = summary::runs(&text).into_iter().next().unwrap_or_default();
                run.usec(subject.name).map_err(failure)?;
                Ok([Snapshot::default(), snapshots.last().copied().unwrap_or_default()])
            }))
        };
        let (few, many) = (whole(loops)?, whole(loops * LONGER)?);
        let more = loops * (LONGER - 1) * u64::from(cpus);
        rounds.push(few.and_then(|few| Ok(counts::per_loop(few, many?, more))));
    }
    Ok(rounds.try_into().expect("there is one for each case"))
}

/// The figures of one case: of all that is counted, and of the model.
fn of_rounds(figure: &Figure, rounds: &[Counted]) -> Vec<Figure> {
    let all: std::result::Result<Vec<PerLoop>, Outcome> = rounds.iter().cloned().collect();
    let units = KINDS.iter().map(|(_, unit)| *unit).chain([model::UNIT]);
    let of = |unit: &str, index: usize| {
        let (outcome, range) = match &all {
            Ok(rounds) => {
                let value =
                    |round: &PerLoop| round.get(index).copied().unwrap_or_else(|| model::cycles(round));
                let values: Vec<f64> = rounds.iter().map(value).collect();
                let range = timed::range(&values);
                (Outcome::Measured { value: timed::median(values) }, range)
            }
            Err(outcome) => (outcome.clone(), None),
        };
        Figure { unit: unit.to_owned(), outcome, range, ..figure.clone() }
    };
    units.enumerate().map(|(index, unit)| of(unit, index)).collect()
}

#[cfg(test)]
mod tests;
