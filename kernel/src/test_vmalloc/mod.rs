//! The benchmark driver: the cases, parameters and lines of Linux's `test_vmalloc` module.
//!
//! Called by the console and by tests, in a thread that may wait; no lock is taken here.

mod cases;
mod costs;
pub mod floor;
mod load;
mod makers;
pub mod mark;
mod parameters;
mod parse;
mod percpu_case;
pub mod vmap;
mod workers;

use crate::{arch::tsc, command::CommandError, println};
use alloc::{format, sync::Arc};
use cases::Case;
use costs::Costs;
use makers::Makers;
use parameters::Parameters;
use workers::{Outcome, graver};

pub use costs::PerMillion;
pub use load::Load;
pub use parse::WORDS;

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
    nr_sets                case 1024 maps so many sets of pages in turn, 0 means 1 (1)\n\
    use_huge               1: case 1 asks for 2 MiB pages (0)\n\
    nr_pcpu_objects        objects of case 128 (35000)\n\
    zero                   1: cases 16 and 32 ask for memory full of zeros, as Linux's do (1)\n\
    instead                free-list or vmem: cases 1, 2, 4, 8 and 1024 without the vmalloc library, by\n\
    \x20                      this crate's addresses, x86_64's mapper, and a flush at once";

/// The console command.
///
/// # Errors
/// The line names the parameter that is wrong, or says how many runs failed, and what the first one ran into.
pub fn command(arguments: &[&str]) -> Result<(), CommandError> {
    let parameters = Parameters::parse(arguments)?;
    let makers = Arc::new(Makers::new(parameters.instead)?);
    let before = Costs::now();
    let reports = workers::run(&parameters, &makers)
        .map_err(|error| CommandError::new(format!("nr_threads={}: {error}", parameters.nr_threads)))?;
    let costs = Costs::now().since(&before);
    let (mut failed, mut runs, mut first) = (0, 0, None);
    for (worker, report) in reports.iter().enumerate() {
        for (case, result) in &report.results {
            print_summary(case, result, &parameters);
            failed += result.failed;
            first = result.error.map(|error| graver(first, error)).or(first);
            runs += result.passed + result.failed + result.expected_failures;
        }
        println!("All test took worker{worker}={} cycles", report.cycles);
    }
    costs.print(runs.saturating_mul(parameters.test_loop_count));
    first.map_or(Ok(()), |error| Err(CommandError::new(format!("{failed} runs of cases failed: {error}"))))
}

fn print_summary(case: &Case, result: &Outcome, parameters: &Parameters) {
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
