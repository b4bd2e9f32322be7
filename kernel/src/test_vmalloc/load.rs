//! The cases as a load for others to measure under: they run, on all CPUs, and say nothing.

use super::{
    makers::Makers,
    parameters::{self, Parameters},
    parse,
    workers::{self, Report},
};
use crate::{
    arch::cpu,
    command::CommandError,
    threads::{self, JoinHandle, SpawnError},
};
use alloc::{format, sync::Arc};
use core::sync::atomic::{AtomicBool, Ordering};

/// Loops of a case in one round: a round should be short, because it is not stopped within.
const LOOPS: u64 = 200;

/// A load that runs until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Runs, SpawnError>>,
}

/// Runs of cases that a load made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runs {
    /// All of them.
    pub all: u64,
    /// Those that failed, as they do when memory is short.
    pub failed: u64,
}

impl Load {
    /// Reads a mask of cases as `run_test_mask` takes it, but for 0, which means no load. The error calls
    /// it by `name`.
    ///
    /// # Errors
    /// It is no number, or no sum of cases.
    pub fn parse_mask(name: &str, value: &str) -> Result<u64, CommandError> {
        match parameters::number(value) {
            Some(0) => Ok(0),
            Some(mask) => parse::check_mask(name, mask),
            None => Err(CommandError::new(format!("{name}={value}: not a number"))),
        }
    }

    /// Runs these cases over and over, on as many threads as there are CPUs, each time in another order
    /// on each.
    ///
    /// # Errors
    /// No memory for a thread.
    pub fn start(mask: u64) -> Result<Self, SpawnError> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let parameters = Parameters {
            nr_threads: cpu::online_count() as u64,
            run_test_mask: mask,
            test_loop_count: LOOPS,
            nr_pcpu_objects: LOOPS,
            ..Parameters::default()
        };
        let thread = threads::spawn("load", move || {
            let (makers, mut runs) = (Arc::new(Makers::library()), Runs::default());
            while !seen.load(Ordering::Relaxed) {
                workers::run(&parameters, &makers)?.iter().for_each(|report| runs.add(report));
            }
            Ok(runs)
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends the load after the round under way; what it did.
    ///
    /// # Errors
    /// It had ended by itself: no memory for its threads.
    pub fn stop(self) -> Result<Runs, SpawnError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join()
    }
}

impl Runs {
    fn add(&mut self, report: &Report) {
        for (_, result) in &report.results {
            self.all += result.passed + result.failed + result.expected_failures;
            self.failed += result.failed;
        }
    }
}
