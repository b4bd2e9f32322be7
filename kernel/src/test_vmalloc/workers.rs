//! The workers: threads that each run the cases, all at once.

use super::{
    cases::{CASES, Case, reserve},
    makers::Makers,
    parameters::Parameters,
};
use crate::{
    arch::tsc,
    threads::{Builder, JoinHandle, SpawnError, WaitQueue},
};
use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use fastrand::Rng;
use vmalloc::AllocError;

/// What came of a case, in runs.
#[derive(Clone, Copy, Default)]
pub(super) struct Outcome {
    pub passed: u64,
    pub failed: u64,
    pub expected_failures: u64,
    /// What the first run that failed ran into; or the first that did not run short of memory.
    pub error: Option<AllocError>,
    pub cycles: u64,
}

/// One worker's results, in the order of the cases, and all its time.
pub(super) struct Report {
    pub results: Vec<(&'static Case, Outcome)>,
    pub cycles: u64,
}

/// Holds the workers back until all are there.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    /// Not all could be made: nothing is to be measured.
    cancelled: AtomicBool,
    waiting: WaitQueue,
}

/// Runs all workers at once, each a thread; their reports in the workers' order.
pub(super) fn run(parameters: &Parameters, makers: &Arc<Makers>) -> Result<Vec<Report>, SpawnError> {
    let gate = Arc::new(Gate::default());
    let spawn = |worker: usize| -> Result<JoinHandle<Option<Report>>, SpawnError> {
        let (gate, makers, parameters) = (Arc::clone(&gate), Arc::clone(makers), parameters.clone());
        Builder::new(&format!("vmalloc worker {worker}")).spawn(move || {
            gate.waiting.wait_until(|| gate.open.load(Ordering::Acquire));
            let cancelled = gate.cancelled.load(Ordering::Relaxed);
            (!cancelled).then(|| run_worker(worker, &makers, &parameters))
        })
    };
    let count = parameters.workers();
    // Of thousands these are no small objects: the heap refuses them at once, and lists that grow would end the machine.
    let workers = reserve(count).and_then(|workers| Ok((workers, reserve(count)?)));
    let (mut workers, mut reports) = workers.map_err(SpawnError::OutOfMemory)?;
    let mut error = None;
    workers.extend((0..count).map_while(|worker| spawn(worker).map_err(|e| error = Some(e)).ok()));
    gate.cancelled.store(error.is_some(), Ordering::Relaxed);
    gate.open.store(true, Ordering::Release);
    gate.waiting.wake_all();
    reports.extend(workers.into_iter().filter_map(JoinHandle::join));
    error.map_or(Ok(reports), Err)
}

fn run_worker(worker: usize, makers: &Makers, parameters: &Parameters) -> Report {
    // The same random numbers in every run, others for each worker.
    let mut random = Rng::with_seed(worker as u64 + 1);
    let mut order: Vec<_> = CASES.iter().filter(|case| parameters.run_test_mask & case.bit != 0).collect();
    if !parameters.sequential_test_order {
        random.shuffle(&mut order);
    }
    let start = tsc::now();
    let mut results: Vec<_> =
        order.into_iter().map(|case| (case, run_case(case, makers, parameters, &mut random))).collect();
    let cycles = tsc::since(start);
    results.sort_unstable_by_key(|(case, _)| case.bit);
    Report { results, cycles }
}

/// Which of two errors tells more: the first one, unless only the other is no shortage of memory.
pub(super) fn graver(first: Option<AllocError>, next: AllocError) -> AllocError {
    let is_shortage = |error| matches!(error, AllocError::OutOfFrames { .. });
    match first {
        Some(first) if !is_shortage(first) || is_shortage(next) => first,
        _ => next,
    }
}

fn run_case(case: &Case, makers: &Makers, parameters: &Parameters, random: &mut Rng) -> Outcome {
    let mut result = Outcome::default();
    let start = tsc::now();
    for _ in 0..parameters.test_repeat_count {
        match case.run(makers, parameters, random) {
            Ok(()) => result.passed += 1,
            Err(_) if case.may_fail => result.expected_failures += 1,
            Err(error) => {
                result.failed += 1;
                result.error = Some(graver(result.error, error));
            }
        }
    }
    result.cycles = tsc::since(start);
    result
}
