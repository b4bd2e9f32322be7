//! When a program counts as hanging: by clocks that tests set, and by what Linux says.

use super::*;
use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::rc::Rc;

use rustix::process::{Pid, Signal, kill_process_group};

fn own(ran: u64, waited: u64, cpus: u32) -> Duration {
    let usage = Usage { ran: Duration::from_secs(ran), waited: Duration::from_secs(waited) };
    usage.own_time(Duration::from_secs(60), cpus)
}

#[test]
fn on_an_idle_computer_own_time_is_the_walls() {
    // Idle; one thread; one for each CPU; half a thread.
    for (ran, cpus) in [(0, 2), (60, 2), (120, 2), (30, 2), (60, 1)] {
        assert_eq!(own(ran, 0, cpus), Duration::from_secs(60), "{ran} s on {cpus} CPUs");
    }
    // More threads than CPUs wait for each other: that is nobody else's doing.
    assert_eq!(own(120, 60 * 62, 2), Duration::from_secs(60));
}

/// Seen failing with the wall clock.
#[test]
fn time_that_others_take_is_not_the_programs() {
    assert_eq!(own(30, 30, 2), Duration::from_secs(30));
    assert_eq!(own(30, 60 * 63, 2), Duration::from_secs(15));
    assert_eq!(own(0, 60, 2), Duration::ZERO);
    // It wanted half of the time, and got half of that.
    assert_eq!(own(15, 15, 2), Duration::from_secs(45));
}

#[test]
fn what_linux_says_is_read() {
    let read = Usage::read("2000000000 3000000000 7\n").unwrap();
    assert_eq!((read.ran, read.waited), (Duration::from_secs(2), Duration::from_secs(3)));
    assert_eq!(Usage::read(""), None);
    assert_eq!(Usage::read("many few"), None);
    assert_eq!(Usage::of(u32::MAX), None);
    let this = Linux { pid: std::process::id(), start: Instant::now() };
    assert!(this.usage().is_some_and(|usage| !usage.ran.is_zero()));
}

/// A program that does nothing unless told so, and the wall's clock beside it.
#[derive(Clone, Debug, Default)]
struct Told(Rc<Cell<(Duration, Option<Usage>)>>);

impl Told {
    fn passes(&self, time: Duration) {
        self.0.update(|(wall, usage)| (wall + time, usage));
    }

    /// Of a second the program gets so many milliseconds, and wants all of it.
    fn second(&self, ran: u64) {
        self.passes(Duration::from_secs(1));
        let (wall, usage) = self.0.get();
        let usage = usage.unwrap_or(Usage { ran: Duration::ZERO, waited: Duration::ZERO });
        let (ran, waited) = (Duration::from_millis(ran), Duration::from_millis(1000 - ran));
        self.0.set((wall, Some(Usage { ran: usage.ran + ran, waited: usage.waited + waited })));
    }

    fn patience(&self, limit: Limit) -> Patience<Self> {
        Patience::with(limit, self.clone())
    }
}

impl Source for Told {
    fn wall(&self) -> Duration {
        self.0.get().0
    }

    fn usage(&self) -> Option<Usage> {
        self.0.get().1
    }
}

/// Seen failing with the wall clock.
#[test]
fn a_program_among_busy_ones_gets_old_slowly() {
    let told = Told::default();
    told.second(1000);
    let mut clock = OwnTime::new(told.clone());
    for _ in 0..80 {
        told.second(125);
        clock.now();
    }
    // Nothing else wants to run any more.
    assert_eq!(clock.now(), Duration::from_secs(10));
    for _ in 0..8 {
        told.second(1000);
        clock.now();
    }
    assert_eq!(clock.now(), Duration::from_secs(18));
}

/// Linux tells of a thread's wait when it is over: before, the thread looks idle. Seen failing with each look a span of its
/// own.
#[test]
fn a_long_wait_is_not_the_programs_own_though_linux_tells_of_it_late() {
    let told = Told::default();
    told.second(1000);
    let mut clock = OwnTime::new(told.clone());
    for _ in 1..4 {
        told.passes(Duration::from_secs(1));
        clock.now();
    }
    told.passes(Duration::from_secs(1));
    let (wall, usage) = told.0.get();
    let Usage { ran, waited } = usage.unwrap();
    let (ran, waited) = (ran + Duration::from_millis(500), waited + Duration::from_millis(3500));
    told.0.set((wall, Some(Usage { ran, waited })));
    assert_eq!(clock.now(), Duration::from_millis(500));
}

#[test]
fn an_answer_is_good_until_it_is_stale() {
    let told = Told::default();
    let mut clock = OwnTime::new(told.clone());
    let mut after = |time: Duration| {
        told.passes(time);
        clock.now()
    };
    let second = Duration::from_secs(1);
    assert_eq!(after(second), second);
    assert_eq!(after(FRESH / 2), second);
    assert_eq!(after(FRESH / 2), second + FRESH);
    assert_eq!(after(Duration::ZERO), second + FRESH);
}

#[test]
fn who_looks_after_ten_seconds_was_not_stopped_and_after_more_was() {
    for (gap, own) in [(GAP, GAP), (GAP + FRESH, LOOK)] {
        let told = Told::default();
        let mut clock = OwnTime::new(told.clone());
        told.passes(gap);
        assert_eq!(clock.now(), own);
    }
}

/// Looks each second until the program has no time left. Returns how many seconds it had.
fn seconds_left(told: &Told, patience: &mut Patience<Told>) -> usize {
    let mut seconds = 0;
    while matches!(patience.left(), Some(Left::AtLeast(_))) {
        told.second(1000);
        seconds += 1;
    }
    seconds
}

/// Seen failing with the wall's time, of which both limits ran out at once.
#[test]
fn who_was_stopped_blames_nobody_for_it() {
    for limit in [Limit::All, Limit::Silent].map(|limit| limit(Duration::from_secs(600))) {
        let told = Told::default();
        let mut patience = told.patience(limit);
        for _ in 0..100 {
            told.second(1000);
            patience.left();
        }
        told.passes(Duration::from_secs(100_000));
        // The second after which it looks is its own.
        assert_eq!(seconds_left(&told, &mut patience), 499);
        assert_eq!(patience.left(), Some(Left::Nothing), "it hangs all the same");
    }
    // A machine that has said its last word, and is stopped with all others.
    let told = Told::default();
    let mut patience = told.patience(Limit::None);
    told.second(1000);
    patience.heard();
    patience.ends_within(Duration::from_secs(20));
    told.passes(Duration::from_secs(30));
    assert_eq!(seconds_left(&told, &mut patience), 19);
    assert_eq!(patience.left(), Some(Left::NotEnded));
}

/// Seen failing with the process alone.
#[test]
fn what_a_child_uses_is_used_by_the_program() {
    let mut command = Command::new("sh");
    // The child ends by itself, should the test be ended first.
    command
        .args(["-c", "(ulimit -t 10; yes >&2; :) & wait"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    let burnt = || Usage::of(child.id()).is_some_and(|usage| usage.ran > Duration::from_secs(1));
    let seen = loop {
        if burnt() || start.elapsed() > Duration::from_secs(600) {
            break burnt();
        }
        thread::sleep(Duration::from_millis(20));
    };
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let _ = child.wait();
    assert!(seen);
}

#[test]
fn words_renew_patience_that_is_with_silence_only() {
    let (told, limit) = (Told::default(), Duration::from_secs(9));
    let mut all = told.patience(Limit::All(limit));
    let mut silent = told.patience(Limit::Silent(limit));
    told.passes(limit);
    silent.heard();
    assert_eq!(all.left(), Some(Left::Nothing));
    assert_eq!(silent.left(), Some(Left::AtLeast(LOOK)));
    told.passes(limit);
    assert_eq!(silent.left(), Some(Left::Nothing));
}

/// Seen failing, for `None`, with a program that was waited for without an end.
#[test]
fn who_said_that_it_ends_and_does_not_is_told_from_who_hangs() {
    let (long, short) = (Duration::from_secs(600), Duration::from_secs(9));
    for (limit, ending) in [
        (Limit::Silent(short), long),
        (Limit::Silent(long), short),
        (Limit::All(long), short),
        (Limit::None, short),
    ] {
        let told = Told::default();
        let mut patience = told.patience(limit);
        patience.heard();
        patience.ends_within(ending);
        assert_eq!(patience.left(), Some(Left::AtLeast(LOOK)));
        told.passes(short);
        assert_eq!(patience.left(), Some(Left::NotEnded), "{limit:?}");
    }
}

#[test]
fn without_a_limit_nothing_ends_a_program_that_did_not_say_that_it_ends() {
    let told = Told::default();
    let (mut none, mut never) = (told.patience(Limit::None), told.patience(Limit::Never));
    never.ends_within(Duration::from_secs(20));
    told.passes(Duration::from_secs(1 << 30));
    assert_eq!((none.left(), never.left()), (None, None));
}

#[test]
fn words_do_not_put_off_the_far_limit() {
    let (told, limit) = (Told::default(), Duration::from_secs(60));
    let mut patience = told.patience(Limit::Silent(limit));
    for _ in 0..(limit * FAR).as_secs() {
        patience.heard();
        assert_ne!(patience.left(), Some(Left::Nothing));
        told.passes(LOOK);
    }
    patience.heard();
    assert_eq!(patience.left(), Some(Left::Nothing));
}
