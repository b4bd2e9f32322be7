//! Running a model in many schedules.

use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler},
};
use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

/// The variable that names the file of a schedule to run alone.
const REPLAY: &str = "SCHEDULE";
/// The variable that says how many schedules each scheduler draws.
const COUNT: &str = "SCHEDULES";
/// How many it draws without.
const DEFAULT: usize = 400;
/// How many it draws of a model of long schedules.
pub const LONG: usize = 150;
/// The seed, unless shuttle's own variable `SHUTTLE_RANDOM_SEED` says another.
const SEED: u64 = 20;
/// Changes of the order of threads that the scheduler by priorities makes in one schedule.
const CHANGES: usize = 4;
/// Steps after which a schedule is said to hang.
const STEPS: usize = 1_000_000;
/// Bytes of a thread's stack.
const STACK: usize = 256 << 10;

/// Runs a test's model in random schedules, and in those that few changes of priorities make.
///
/// # Panics
/// If the model does, after saying how that schedule is run again.
pub fn explore(model: fn()) {
    explore_some(DEFAULT, model);
}

/// Runs a test's model as [`explore`] does, in as many schedules of each kind.
///
/// # Panics
/// As `explore` does.
pub fn explore_some(count: usize, model: fn()) {
    if let Some(file) = env::var_os(REPLAY) {
        let schedule = ReplayScheduler::new_from_file(file).expect("a file with a schedule");
        run(schedule, FailurePersistence::None, model);
        return;
    }
    let count = env::var(COUNT).map_or(count, |count| count.parse().expect("a number of schedules"));
    let kept = || FailurePersistence::File(Some(env!("CARGO_TARGET_TMPDIR").into()));
    let explored = catch_unwind(AssertUnwindSafe(|| {
        run(RandomScheduler::new_from_seed(SEED, count), kept(), model);
        run(PctScheduler::new_from_seed(SEED, CHANGES, count), kept(), model);
    }));
    if let Err(panic) = explored {
        let test = thread::current().name().unwrap_or_default().to_owned();
        eprintln!(
            "\nThat schedule alone, FILE being the one that is named above:\n\
             {REPLAY}=FILE CARGO_TARGET_DIR=target/shuttle RUSTFLAGS='--cfg shuttle' ./run.sh cargo test \
             --target host-tuple -p vmalloc --features host --test schedules -- --exact {test}\n"
        );
        resume_unwind(panic);
    }
}

fn run(scheduler: impl Scheduler + 'static, kept: FailurePersistence, model: fn()) {
    let mut config = Config::new();
    config.failure_persistence = kept;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.silence_warnings = true;
    config.stack_size = STACK;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    Runner::new(scheduler, config).run(model);
}
