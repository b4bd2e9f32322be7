//! `latency`: how late threads of the highest class are woken, and what kept others waiting.

use super::freeing::{Freed, Freeing};
use crate::{
    arch::{
        cpu::{
            self,
            sections::{self, Kind},
        },
        interrupts, tsc,
    },
    command::CommandError,
    println,
    test_vmalloc::Load,
    threads::{self, Builder, Class, SpawnError},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::sync::atomic::Ordering;
use histogram::Histogram;
use protocol::Place;

pub(super) const ABOUT: &str = "measures how late real-time threads, one on each CPU, are woken each millisecond\n\
    seconds  how long (10)\n\
    load     test_vmalloc cases that run meanwhile on all CPUs, a sum as for run_test_mask; 0: none (0)\n\
    free     what is freed meanwhile, and purged, over and over: lazy (64 MiB in pages), area (1 GiB),\n\
    \x20        sparse (1 TiB without frames but with page tables, which take 2 GiB)\n\
    Medians and the like are at most a sixteenth too long; the least and the longest are exact. Then each\n\
    CPU's longest section with preemption off, and with interrupts off: where it began\n\
    and where it ended. Under --icount=SHIFT an instruction takes 2^SHIFT ns and as many cycles.";

/// Microseconds from one wake-up to the next.
const INTERVAL: u64 = 1000;
/// Delays are recorded in this part of a microsecond: a power of two, so that no bucket of the histogram
/// lies on both sides of a power of two microseconds.
const PART: u64 = 1024;
/// Bytes of a measuring thread's stack: the histogram may lie there for a while.
const STACK: usize = 64 << 10;
/// A day.
const LONGEST: u64 = 86_400;

/// What the command was told.
struct Parameters {
    seconds: u64,
    load: u64,
    free: Option<Freed>,
}

impl Parameters {
    fn parse(words: &[&str]) -> Result<Self, CommandError> {
        let mut parameters = Self { seconds: 10, load: 0, free: None };
        for word in words {
            match word.split_once('=') {
                Some(("seconds", value)) => {
                    let seconds = value.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds));
                    let wrong = || CommandError::new(format!("{word}: not a number from 1 to {LONGEST}"));
                    parameters.seconds = seconds.ok_or_else(wrong)?;
                }
                Some((name @ "load", value)) => parameters.load = Load::parse_mask(name, value)?,
                Some(("free", value)) => parameters.free = Some(Freed::parse(value)?),
                Some((name, _)) => return Err(CommandError::new(format!("{name}: no such parameter"))),
                None => return Err(CommandError::new(format!("{word}: not of the form name=value"))),
            }
        }
        Ok(parameters)
    }
}

/// The console command.
///
/// # Errors
/// The line names the parameter that is wrong, or says what could not be made.
pub fn latency(arguments: &[&str]) -> Result<(), CommandError> {
    let parameters = Parameters::parse(arguments)?;
    let no_thread = |error: SpawnError| CommandError::new(format!("{error}"));
    let load = match parameters.load {
        0 => None,
        mask => Some(Load::start(mask).map_err(no_thread)?),
    };
    let freeing = parameters.free.map(Freed::start).transpose();
    let before = sections::switch().swap(1, Ordering::Relaxed);
    interrupts::call_on_all(sections::reset);
    let measured = measure_all(parameters.seconds * 1_000_000 / INTERVAL);
    // Read before the load ends, and before anything is printed.
    let longest = [Kind::Preemption, Kind::Interrupts].map(longest_lines);
    sections::switch().store(before, Ordering::Relaxed);
    let load = load.map(Load::stop);
    let freeing = freeing.map(|freeing| freeing.map(Freeing::stop)).map_err(no_thread)?;
    let measured = measured.map_err(no_thread)?;
    print_delays(&measured);
    for (name, lines) in ["preemption", "interrupts"].into_iter().zip(longest) {
        println!("longest with {name} off:");
        lines.iter().for_each(|line| println!("{line}"));
    }
    print_histogram(&measured);
    if let Some(runs) = load {
        let runs = runs.map_err(no_thread)?;
        println!("load: {} runs of cases, {} failed", runs.all, runs.failed);
    }
    match freeing {
        None => {}
        Some(Ok(rounds)) => println!("freed and purged {rounds} times"),
        Some(Err(error)) => return Err(CommandError::new(format!("free: {error}"))),
    }
    Ok(())
}

/// Delays on each CPU, in [`PART`]s of a microsecond.
type Measured = Vec<(usize, Box<Histogram>)>;

/// Measures on all CPUs, isolated ones too, at once.
fn measure_all(wakes: u64) -> Result<Measured, SpawnError> {
    let spawn = |cpu| {
        let builder = Builder::new("latency").class(Class::RealTime).on_cpu(cpu).stack(STACK);
        builder.spawn(move || measure(wakes))
    };
    let mut error = None;
    let threads: Vec<_> = cpu::online()
        .iter()
        .map_while(|cpu| Some((cpu, spawn(cpu).map_err(|e| error = Some(e)).ok()?)))
        .collect();
    let measured = threads.into_iter().map(|(cpu, thread)| (cpu, thread.join())).collect();
    error.map_or(Ok(measured), Err)
}

/// Wakes this often by a timetable made before, so that after a long delay those that came due meanwhile
/// count as late too.
fn measure(wakes: u64) -> Box<Histogram> {
    let mut histogram = Box::new(Histogram::new());
    let (start, interval, kilohertz) = (tsc::now(), tsc::cycles(INTERVAL), tsc::kilohertz());
    for wake in 1..=wakes {
        let due = start + wake * interval;
        threads::sleep_until(due);
        let late = tsc::since(due);
        histogram.record(late.saturating_mul(1000 * PART) / kilohertz);
    }
    histogram
}

/// Microseconds with one decimal.
fn shown(parts: Option<u64>) -> String {
    let Some(parts) = parts else { return String::from("-") };
    let tenths = parts.saturating_mul(10).div_ceil(PART);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn print_delays(measured: &Measured) {
    println!("{:6} {:>9} {:>9} {:>9} {:>9} {:>9}", "us", "wake-ups", "min", "median", "99.9 %", "max");
    for (cpu, histogram) in measured {
        let columns = [
            format!("{}", histogram.count()),
            shown(histogram.least()),
            shown(histogram.quantile(500)),
            shown(histogram.quantile(999)),
            shown(histogram.greatest()),
        ];
        println!("CPU {cpu:<2} {}", columns.map(|column| format!("{column:>9}")).join(" "));
    }
}

/// A line for each CPU that had a section of this kind.
fn longest_lines(kind: Kind) -> Vec<String> {
    let line = |cpu| {
        let section = sections::longest(kind, cpu)?;
        let microseconds = shown(Some(section.cycles.saturating_mul(1000 * PART) / tsc::kilohertz().max(1)));
        let (cycles, began, ended) = (section.cycles, section.began, section.ended);
        Some(format!(
            "CPU {cpu:<2} {microseconds:>9} us {cycles:>10} cycles, began {}:{}, ended in {}",
            began.file(),
            began.line(),
            Place(ended as u64)
        ))
    };
    cpu::online().iter().filter_map(line).collect()
}

/// All CPUs together, by powers of two microseconds, down to the last line with anything in it.
fn print_histogram(measured: &Measured) {
    let mut all = Histogram::new();
    measured.iter().for_each(|(_, histogram)| all.merge(histogram));
    let Some(greatest) = all.greatest() else { return };
    println!("{:>9}    {:>9}", "us", "wake-ups");
    let (mut from, mut to) = (0, 1_u64);
    loop {
        let count = all.count_in(from * PART, to.saturating_mul(PART));
        println!("{from:>9} .. {to:>9} {count:>9}");
        if greatest < to.saturating_mul(PART) || to.checked_mul(2).is_none() {
            break;
        }
        (from, to) = (to, to * 2);
    }
}
