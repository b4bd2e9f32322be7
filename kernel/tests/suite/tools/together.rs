//! What commands use that run beside each other: experiments, threads that purge, clocks of CPUs.

use alloc::vec::Vec;
use kernel::{
    arch::tsc,
    console,
    memory::PurgeWish,
    services::{
        Experiment, ExperimentError, flushing,
        purger::{Purger, StartError},
    },
    trace::{ftrace::Ftrace, stream},
};

/// Seen failing: the ninth one ended the machine.
#[test_case]
fn one_experiment_too_many_is_refused() {
    let all: Vec<_> = (0..8).map(|_| Experiment::new(1, flushing()).expect("room")).collect();
    assert!(matches!(Experiment::new(1, flushing()), Err(ExperimentError::TooMany)));
    drop(all);
    drop(Experiment::new(1, flushing()).expect("room again"));
}

/// The thread may not have run yet when it is stopped. Seen failing, by a wait for ever, with a thread that says itself that it
/// serves.
#[test_case]
fn a_purger_that_has_not_run_yet_is_stopped() {
    static WISH: PurgeWish = PurgeWish::new();
    for _ in 0..50 {
        let purger = Purger::start("purge of a test", &WISH, || {}).expect("memory");
        assert!(matches!(Purger::start("another one", &WISH, || {}), Err(StartError::Served)));
        assert!(WISH.wake());
        purger.stop();
        assert!(!WISH.wake(), "nobody serves");
    }
}

/// Seen failing: each of two measurements turned the meter off, or left it on, for the other; a filter held back the lines of
/// all; a second stream threw away what the first one had not sent.
#[test_case]
fn what_one_command_needs_for_itself_is_refused_to_the_other() {
    assert_eq!(console::run_beside("latency seconds=1 & latency seconds=1"), 1);
    assert_eq!(console::run_beside("cpus | grep nothing & cpus"), 1);
    let open = || stream::open(|_| true, Ftrace::new(0x1000..0x2000, 7));
    assert!(open() && !open());
    assert!(stream::close().is_some() && open());
    stream::close();
}

/// Seen failing: an overflow, where sums are checked.
#[test_case]
fn no_time_has_passed_since_a_later_moment() {
    assert_eq!(tsc::since(u64::MAX), 0);
}
