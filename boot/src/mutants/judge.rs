//! Judges a change by the tests that come to it, and counts what became of all.

use std::fmt;
use std::time::Duration;

use signal_hook::consts::{SIGKILL, SIGTERM};

use super::cover::Test;
use crate::session::How;
use crate::status::{Error, Result};

/// The tests that are run first take so long together; each group after them takes that many times as long.
const FIRST_GROUP: (Duration, u32) = (Duration::from_millis(50), 4);

/// Tests may take so many times as long as without the change, and so much longer.
const PATIENCE: (u32, Duration) = (5, Duration::from_secs(2));

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The compiler does not take it.
    NotCompiled,
    /// No test comes to it.
    Untested,
    /// A test fails.
    Seen,
    /// A test does not end.
    TimedOut,
    /// All tests pass.
    Survived,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NotCompiled, Self::Untested, Self::Seen, Self::TimedOut, Self::Survived];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotCompiled => "does not compile",
            Self::Untested => "no test comes to it",
            Self::Seen => "seen",
            Self::TimedOut => "seen by a time-out",
            Self::Survived => "survived",
        }
    }

    /// Whether a test for the change is not what is missing.
    #[must_use]
    pub fn needs_no_test(self) -> bool {
        !matches!(self, Self::Survived | Self::Untested)
    }
}

/// Judges a change by `tests`, of which the quickest is the first. `run` runs some of them, within a time.
///
/// # Errors
/// Those of `run`; and if a program ended in a way that says nothing of the change.
pub fn judge(tests: &[&Test], mut run: impl FnMut(&[&str], Duration) -> Result<How>) -> Result<Verdict> {
    for group in groups(tests) {
        let names: Vec<&str> = group.iter().map(|test| test.name.as_str()).collect();
        match run(&names, limit(group.iter().copied()))? {
            How::Exited(0) => {}
            How::TimedOut => return Ok(Verdict::TimedOut),
            how => {
                says_something(how)?;
                return Ok(Verdict::Seen);
            }
        }
    }
    Ok(if tests.is_empty() { Verdict::Untested } else { Verdict::Survived })
}

/// Looks whether the end of a test program says anything of its tests.
///
/// # Errors
/// The shell found no program or could not start it; or somebody else ended it, such as a computer short of memory.
pub fn says_something(how: How) -> Result<()> {
    match how {
        How::Exited(126 | 127) | How::Signalled(SIGKILL | SIGTERM) | How::EndedByUser | How::NotEnded => {
            Err(Error::failed(format!("the test program did not run as it should: {how:?}")))
        }
        How::Exited(_) | How::Signalled(_) | How::TimedOut => Ok(()),
    }
}

/// How long tests may take.
#[must_use]
pub fn limit<'a>(tests: impl Iterator<Item = &'a Test>) -> Duration {
    tests.map(|test| test.took).sum::<Duration>() * PATIENCE.0 + PATIENCE.1
}

/// The tests in groups that grow: most changes are seen by quick tests, and a process costs time, too.
fn groups<'a, 'b>(mut tests: &'a [&'b Test]) -> Vec<&'a [&'b Test]> {
    let mut groups = Vec::new();
    let (mut time, factor) = FIRST_GROUP;
    while !tests.is_empty() {
        let fits = (1..=tests.len()).take_while(|&count| time_of(&tests[..count]) <= time).last();
        let (group, rest) = tests.split_at(fits.unwrap_or(1));
        groups.push(group);
        tests = rest;
        time *= factor;
    }
    groups
}

fn time_of(tests: &[&Test]) -> Duration {
    tests.iter().map(|test| test.took).sum()
}

/// How many changes there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    all: usize,
    not_compiled: usize,
    untested: usize,
    seen: usize,
    timed_out: usize,
    survived: usize,
    excused: usize,
}

impl Counts {
    /// Counts a change that was judged.
    pub fn count(&mut self, verdict: Verdict) {
        self.all += 1;
        let place = match verdict {
            Verdict::NotCompiled => &mut self.not_compiled,
            Verdict::Seen => &mut self.seen,
            Verdict::TimedOut => &mut self.timed_out,
            Verdict::Survived => &mut self.survived,
            Verdict::Untested => &mut self.untested,
        };
        *place += 1;
    }

    /// Counts so many changes that need not be seen, and are not run.
    pub fn excuse(&mut self, count: usize) {
        self.all += count;
        self.excused += count;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all, not_compiled, untested, seen, timed_out, survived, excused } = self;
        let (compile, seen) = (all - not_compiled - excused, seen + timed_out);
        write!(f, "{all} changes: {compile} compile, {seen} seen ({timed_out} by a time-out), ")?;
        write!(f, "{survived} survived, {untested} without a test, {excused} excused")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(milliseconds: &[u64]) -> Vec<Test> {
        let test = |&time: &u64| Test { name: time.to_string(), took: Duration::from_millis(time) };
        milliseconds.iter().map(test).collect()
    }

    /// The verdict by tests, and the runs that it took, if the run with the test `fails` ends in that way.
    fn judged(times: &[u64], fails: &str, how: How) -> (Verdict, Vec<String>) {
        let (tests, mut runs) = (tests(times), Vec::new());
        let verdict = judge(&tests.iter().collect::<Vec<_>>(), |names, limit| {
            runs.push(format!("{} in {}", names.join(" "), limit.as_millis()));
            Ok(if names.contains(&fails) { how } else { How::Exited(0) })
        });
        (verdict.unwrap(), runs)
    }

    #[test]
    fn quick_tests_are_asked_before_slow_ones_within_times_of_their_own() {
        let (verdict, runs) = judged(&[1, 2, 40, 150, 900], "", How::Exited(101));
        assert_eq!(verdict, Verdict::Survived);
        assert_eq!(runs, ["1 2 40 in 2215", "150 in 2750", "900 in 6500"]);
    }

    #[test]
    fn the_first_test_that_sees_a_change_is_enough() {
        assert_eq!(judged(&[1, 60, 900], "1", How::Exited(101)).0, Verdict::Seen);
        assert_eq!(judged(&[1, 60, 900], "60", How::Signalled(6)).1.len(), 2);
        assert_eq!(judged(&[1], "1", How::Signalled(11)).0, Verdict::Seen);
        assert_eq!(judged(&[1], "1", How::TimedOut).0, Verdict::TimedOut);
        assert_eq!(judged(&[], "1", How::TimedOut).0, Verdict::Untested);
    }

    /// Seen failing with each of them taken for a test that fails.
    #[test]
    fn a_program_that_somebody_else_ended_has_seen_nothing() {
        let all = tests(&[1]);
        for how in [How::Exited(127), How::Signalled(9), How::Signalled(15), How::EndedByUser] {
            let judged = judge(&all.iter().collect::<Vec<_>>(), |_, _| Ok(how));
            assert!(judged.is_err_and(|error| error.message.contains("did not run")), "{how:?}");
        }
    }

    #[test]
    fn all_changes_are_counted_once() {
        let mut counts = Counts::default();
        for verdict in Verdict::ALL {
            counts.count(verdict);
        }
        counts.excuse(2);
        let expected =
            "7 changes: 4 compile, 2 seen (1 by a time-out), 1 survived, 1 without a test, 2 excused";
        assert_eq!(counts.to_string(), expected);
    }
}
