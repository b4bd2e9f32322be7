//! Who goes first, allocations or the purge: the threads of 2016 and 2019. A purge that nothing interrupts
//! holds up the CPU; one that always lets others go first never gets to its end while they free, and what
//! waits grows until memory is out.

use super::common::{failed, metered};
use crate::{
    arch::{cpu, tsc},
    command::CommandError,
    memory::PurgeWish,
    println,
    services::{Experiment, flushing, purger::Purger},
    threads::{Builder, JoinHandle},
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};
use fastrand::Rng;
use vmalloc::{PAGE_SIZE, Policy, PurgePolicy, Request};

/// 8 GiB of address space, more than can ever wait.
const BLOCKS: usize = 4096;
const LAZY_MAX: usize = 16_384;
/// For each policy.
const MICROSECONDS: u64 = 3_000_000;
/// Times `LAZY_MAX`, in tenths: more must not wait, and when so much does it has run away.
const LIMIT: i64 = 25;
const RUN_AWAY: i64 = 60;
/// Pages of an area, at most.
const LARGEST: usize = 64;
/// Microseconds from one sample to the next, at least.
const SAMPLED_EACH: u64 = 100;

static WISH: PurgeWish = PurgeWish::new();

struct Run {
    instance: Experiment,
    stop: AtomicBool,
    /// Pages that waited, at the most.
    peak: AtomicI64,
}

/// With each policy; prints how many pages waited at the first `samples` times.
pub(super) fn run(samples: usize) -> Result<(), CommandError> {
    let cpus = cpu::online_count();
    println!("{cpus} CPUs allocate and free up to {LARGEST} pages; lazy_max is {LAZY_MAX} pages");
    println!("{:28} {:>16} {:>8}   longest with preemption off", "the purge", "peak / lazy_max", "purges");
    let mut peaks = Vec::new();
    for (name, policy) in [
        ("never yields", PurgePolicy::Unbroken),
        ("always yields", PurgePolicy::Yielding),
        ("yields below twice lazy_max", PurgePolicy::Threshold),
    ] {
        peaks.push(stress(name, flushing().purge(policy), samples)?);
    }
    match peaks[..] {
        [_, yielding, threshold] if threshold < LIMIT && yielding >= LIMIT => Ok(()),
        _ => Err(CommandError::new(format!("peaks, in tenths of lazy_max, {peaks:?}: not as it has to be"))),
    }
}

/// The most pages that waited, in tenths of `LAZY_MAX`.
fn stress(name: &str, policy: Policy, samples: usize) -> Result<i64, CommandError> {
    let instance = Experiment::with_purger(BLOCKS, policy, Some(&WISH)).map_err(failed)?;
    instance.tunables().lazy_max_pages.store(LAZY_MAX, Ordering::Relaxed);
    let run = Arc::new(Run { instance, stop: AtomicBool::new(false), peak: AtomicI64::new(0) });
    let purger = {
        let run = Arc::clone(&run);
        Purger::start("purge of the experiment", &WISH, move || {
            run.instance.purge();
        })
    };
    let purger = purger.map_err(failed)?;
    let start = tsc::now();
    let spawn = |seed| {
        let run = Arc::clone(&run);
        let samples = Samples::new(start, if seed == 0 { samples } else { 0 });
        Builder::new("purge latency").spawn(move || work(&run, seed as u64, samples?))
    };
    let (joined, longest) = metered(|| {
        let workers: Vec<_> = cpu::online().iter().map(spawn).collect();
        // All of them are gone before one's error is looked at.
        let worked: Vec<_> = workers.into_iter().map(|worker| worker.map(JoinHandle::join)).collect();
        worked.into_iter().collect::<Result<Vec<_>, _>>()
    });
    purger.stop();
    let worked: Result<Vec<Samples>, CommandError> = joined.map_err(failed)?.into_iter().collect();
    let tenths = run.peak.load(Ordering::Relaxed) * 10 / LAZY_MAX as i64;
    let ran_away = if tenths >= RUN_AWAY { ", stopped" } else { "" };
    println!(
        "{name:28} {:>16} {:>8}   {}",
        format!("{}.{}{ran_away}", tenths / 10, tenths % 10),
        run.instance.tally().purges,
        longest.map_or_else(
            || String::from("-"),
            |section| format!("{} us, from {}", tsc::microseconds(section.cycles), section.began)
        )
    );
    worked?.iter().for_each(Samples::print);
    Ok(tenths)
}

/// How many pages waited, as one worker saw it.
struct Samples {
    /// Time stamp counter when the run began.
    start: u64,
    /// Time stamp counter from which on the next sample is due.
    due: u64,
    /// Microseconds since the start, and pages. Its capacity is never exceeded.
    taken: Vec<(u64, i64)>,
}

impl Samples {
    fn new(start: u64, count: usize) -> Result<Self, CommandError> {
        let mut taken = Vec::new();
        taken.try_reserve_exact(count).map_err(failed)?;
        Ok(Self { start, due: start, taken })
    }

    /// Takes a sample if one is due and there is room for it.
    fn see(&mut self, waiting: i64) {
        let now = tsc::now();
        if now >= self.due && self.taken.len() < self.taken.capacity() {
            self.taken.push((tsc::microseconds(now.saturating_sub(self.start)), waiting));
            self.due = now + tsc::cycles(SAMPLED_EACH);
        }
    }

    /// One line; nothing without samples.
    fn print(&self) {
        if self.taken.is_empty() {
            return;
        }
        let samples =
            fmt::from_fn(|f| self.taken.iter().try_for_each(|(at, waiting)| write!(f, " {at}:{waiting}")));
        println!("us:pages{samples}");
    }
}

/// Allocates and frees until the time is over, or until far too much waits.
fn work(run: &Run, seed: u64, mut samples: Samples) -> Result<Samples, CommandError> {
    let mut random = Rng::with_seed(seed);
    let end = tsc::now() + tsc::cycles(MICROSECONDS);
    while tsc::now() < end && !run.stop.load(Ordering::Relaxed) {
        for _ in 0..8 {
            let request = Request::new(random.usize(1..=LARGEST) * PAGE_SIZE);
            let area = run.instance.allocate(request).map_err(failed)?;
            // SAFETY: nobody uses the area.
            unsafe { run.instance.vfree(area) }.map_err(failed)?;
        }
        let waiting = run.instance.lazy_pages();
        run.peak.fetch_max(waiting, Ordering::Relaxed);
        samples.see(waiting);
        if waiting * 10 >= RUN_AWAY * LAZY_MAX as i64 {
            run.stop.store(true, Ordering::Relaxed);
        }
    }
    Ok(samples)
}
