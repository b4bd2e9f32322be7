//! The benchmark driver: the cases, parameters and lines of Linux's `test_vmalloc` module.

mod cases;
mod costs;
pub mod floor;
mod load;
mod parameters;
mod percpu_case;

use crate::{
    arch::tsc,
    console::CommandError,
    println,
    threads::{Builder, JoinHandle, SpawnError, WaitQueue},
};
use alloc::{format, sync::Arc, vec::Vec};
use cases::{CASES, Case};
use core::sync::atomic::{AtomicBool, Ordering};
use costs::Costs;
pub use costs::PerMillion;
use fastrand::Rng;
pub use load::Load;
use parameters::Parameters;

/// What `help test_vmalloc` says.
pub const ABOUT: &str = "runs the vmalloc benchmark cases\n\
    mode                   performance: all cases but 64, in order, 3 times, 1 worker;\n\
    \x20                      smoke: 10000 loops, 10 times; stress: all cases, shuffled, 20 times,\n\
    \x20                      a worker for each CPU. Other parameters win over those of a mode\n\
    run_test_mask          cases to run, a sum of: 1 fix_size, 2 full_fit, 4 long_busy_list,\n\
    \x20                      8 random_size, 16 fix_align, 32 random_size_align, 64 align_shift,\n\
    \x20                      128 pcpu_alloc, 256 kvfree_rcu_1_arg, 512 kvfree_rcu_2_arg,\n\
    \x20                      1024 vm_map_ram, 2048 no_block, 4096 vrealloc (7)\n\
    nr_threads             workers, at least 1 (0)\n\
    sequential_test_order  1: cases in their order, 0: shuffled for each worker (0)\n\
    test_repeat_count      times each case is run (1)\n\
    test_loop_count        loops of a run (1000000)\n\
    nr_pages               pages that cases 1 and 1024 take, 0 means 1 (0)\n\
    use_huge               1: case 1 asks for 2 MiB pages (0)\n\
    nr_pcpu_objects        objects of case 128 (35000)\n\
    zero                   1: cases 16 and 32 ask for memory full of zeros, as Linux's do (1)";

/// What came of a case, in runs.
#[derive(Clone, Copy, Default)]
struct Result {
    passed: u64,
    failed: u64,
    expected_failures: u64,
    cycles: u64,
}

/// One worker's results, in the order of the cases, and all its time.
struct Report {
    results: Vec<(&'static Case, Result)>,
    cycles: u64,
}

/// The console command.
///
/// # Errors
/// The line names the parameter that is wrong, or says how many runs failed.
pub fn command(arguments: &[&str]) -> core::result::Result<(), CommandError> {
    let parameters = Parameters::parse(arguments)?;
    let before = Costs::now();
    let reports = run_workers(&parameters)
        .map_err(|error| CommandError::new(format!("nr_threads={}: {error}", parameters.nr_threads)))?;
    let costs = Costs::now().since(&before);
    let (mut failed, mut runs) = (0, 0);
    for (worker, report) in reports.iter().enumerate() {
        for (case, result) in &report.results {
            print_summary(case, result, &parameters);
            failed += result.failed;
            runs += result.passed + result.failed + result.expected_failures;
        }
        println!("All test took worker{worker}={} cycles", report.cycles);
    }
    costs.print(runs.saturating_mul(parameters.test_loop_count));
    match failed {
        0 => Ok(()),
        _ => Err(CommandError::new(format!("{failed} runs of cases failed"))),
    }
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
fn run_workers(parameters: &Parameters) -> core::result::Result<Vec<Report>, SpawnError> {
    let gate = Arc::new(Gate::default());
    let spawn = |worker: usize| -> core::result::Result<JoinHandle<Option<Report>>, SpawnError> {
        let (gate, parameters) = (Arc::clone(&gate), parameters.clone());
        Builder::new(&format!("vmalloc worker {worker}")).spawn(move || {
            gate.waiting.wait_until(|| gate.open.load(Ordering::Acquire));
            let cancelled = gate.cancelled.load(Ordering::Relaxed);
            (!cancelled).then(|| run_worker(worker, &parameters))
        })
    };
    let mut error = None;
    let workers: Vec<_> = (0..parameters.workers())
        .map_while(|worker| spawn(worker).map_err(|e| error = Some(e)).ok())
        .collect();
    gate.cancelled.store(error.is_some(), Ordering::Relaxed);
    gate.open.store(true, Ordering::Release);
    gate.waiting.wake_all();
    let reports = workers.into_iter().filter_map(JoinHandle::join).collect();
    error.map_or(Ok(reports), Err)
}

fn run_worker(worker: usize, parameters: &Parameters) -> Report {
    // The same random numbers in every run, others for each worker.
    let mut random = Rng::with_seed(worker as u64 + 1);
    let mut order: Vec<_> = CASES.iter().filter(|case| parameters.run_test_mask & case.bit != 0).collect();
    if !parameters.sequential_test_order {
        random.shuffle(&mut order);
    }
    let start = tsc::now();
    let mut results: Vec<_> =
        order.into_iter().map(|case| (case, run_case(case, parameters, &mut random))).collect();
    let cycles = tsc::now() - start;
    results.sort_unstable_by_key(|(case, _)| case.bit);
    Report { results, cycles }
}

fn run_case(case: &Case, parameters: &Parameters, random: &mut Rng) -> Result {
    let mut result = Result::default();
    let start = tsc::now();
    for _ in 0..parameters.test_repeat_count {
        match (case.run)(parameters, random) {
            Ok(()) => result.passed += 1,
            Err(_) if case.may_fail => result.expected_failures += 1,
            Err(_) => result.failed += 1,
        }
    }
    result.cycles = tsc::now() - start;
    result
}

fn print_summary(case: &Case, result: &Result, parameters: &Parameters) {
    println!(
        "Summary: {} passed: {} failed: {} xfailed: {} repeat: {} loops: {} avg: {} usec",
        case.name,
        result.passed,
        result.failed,
        result.expected_failures,
        parameters.test_repeat_count,
        parameters.test_loop_count,
        tsc::microseconds(result.cycles / parameters.test_repeat_count.max(1)),
    );
}
