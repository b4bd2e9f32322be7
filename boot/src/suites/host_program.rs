//! One host test program and what it reports.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cargo::Executable;
use crate::places;
use crate::session::patience::Limit;
use crate::session::serial::Output;
use crate::session::{self, How};
use crate::status::{Result, Status};

/// What one test program came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// [`Status::Ok`], [`Status::Failed`] or [`Status::TimedOut`].
    pub status: Status,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed; at least 1 unless all is well.
    pub failed: usize,
    /// What is wrong; empty if that is all in the output.
    pub complaint: String,
    /// What its tests have [left out](leave_out).
    pub left_out: Vec<String>,
}

/// What a line begins with that says what a test leaves out.
const LEFT_OUT: &str = "left out: ";

/// Says that the test which calls this leaves something out, and for want of what, so that whoever runs the tests reads it
/// though the test passes.
pub fn leave_out(why: &str) {
    // Not by `eprintln`, whose lines of tests that pass are dropped.
    let _ = writeln!(io::stderr(), "{LEFT_OUT}{why}");
}

/// Runs one test program, tells `announce` the name of each test and what came of it as soon as it is over, and prints
/// the program's output if all is not well.
///
/// # Errors
/// If it cannot be started.
pub fn run(
    program: &Executable,
    filter: Option<&str>,
    limit: Limit,
    announce: impl Fn(&str),
) -> Result<(Report, Duration)> {
    let mut command = Command::new(&program.path);
    command.args(filter).current_dir(&program.package).env("CARGO_MANIFEST_DIR", &program.package);
    // The programs that tests start are started by no user.
    command.env_remove(places::CURRENT_DIR).stdin(Stdio::null());
    let (mut text, mut announced) = (Vec::new(), 0);
    let end = session::run(command, None, limit, &mut |output| {
        if let Output::Text(bytes) = output {
            text.extend_from_slice(bytes);
            while let Some(length) = text[announced..].iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&text[announced..announced + length]);
                result(&line).into_iter().for_each(&announce);
                announced += length + 1;
            }
        }
        ControlFlow::Continue(())
    })?;
    let text = String::from_utf8_lossy(&text);
    let report = Report { left_out: left_out(&end.stderr), ..judge(&text, end.how) };
    if report.status != Status::Ok {
        print!("{text}");
        eprint!("{}", end.stderr);
    }
    Ok((report, end.took))
}

/// Judges by what libtest announces, its closing line and the exit status, which must agree.
fn judge(text: &str, how: How) -> Report {
    let closings: Vec<Closing> = text.lines().filter_map(closing).collect();
    let Closing { passed, failed, ignored } = closings.last().copied().unwrap_or_default();
    let announced: usize = text.lines().filter_map(announced).sum();
    let (status, complaint) = match how {
        How::TimedOut => (Status::TimedOut, "timed out".into()),
        How::NotEnded => (Status::Failed, "did not end".into()),
        How::Signalled(signal) => (Status::Failed, format!("was killed by signal {signal}")),
        How::EndedByUser => (Status::Failed, "was ended".into()),
        How::Exited(0) if closings.is_empty() => (Status::Failed, "exits without a closing line".into()),
        How::Exited(0) if closings.len() > 1 => (Status::Failed, "has several closing lines".into()),
        How::Exited(0) if failed > 0 => (Status::Failed, "reports failures, yet exits as succeeded".into()),
        // None has failed.
        How::Exited(0) if announced != passed + ignored => {
            (Status::Failed, format!("announces {announced} tests, of which {passed} passed"))
        }
        How::Exited(0) if ignored > 0 => (Status::Ok, format!("leaves out {ignored} of its tests")),
        How::Exited(0) => (Status::Ok, String::new()),
        // What failed is in the output.
        How::Exited(_) if failed > 0 => (Status::Failed, String::new()),
        How::Exited(number) => (Status::Failed, format!("exits with status {number}")),
    };
    let failed = if status == Status::Ok { 0 } else { failed.max(1) };
    Report { status, passed, failed, complaint, left_out: Vec::new() }
}

fn left_out(stderr: &str) -> Vec<String> {
    stderr.lines().filter_map(|line| line.strip_prefix(LEFT_OUT)).map(String::from).collect()
}

/// Reads `test NAME ... ok`: without the first word.
fn result(line: &str) -> Option<&str> {
    line.strip_prefix("test ").filter(|rest| rest.ends_with(" ... ok") || rest.ends_with(" ... FAILED"))
}

/// Reads `running 3 tests`.
fn announced(line: &str) -> Option<usize> {
    let count = line.strip_prefix("running ")?;
    count.strip_suffix(" tests").or(count.strip_suffix(" test"))?.parse().ok()
}

/// The counts of libtest's closing line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Closing {
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn closing(line: &str) -> Option<Closing> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        counts.split(';').find_map(|part| part.trim().strip_suffix(name)?.trim_end().parse::<usize>().ok())
    };
    Some(Closing { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::env;

    const GOOD: &str = "running 2 tests\ntest a ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; \
        0 measured; 3 filtered out; finished in 0.00s\n\n";
    const BAD: &str = "running 6 tests\ntest result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured\n";

    fn counts(text: &str, how: How) -> (Status, usize, usize) {
        let report = judge(text, how);
        (report.status, report.passed, report.failed)
    }

    #[test]
    fn closing_lines_are_read() {
        assert_eq!(counts(GOOD, How::Exited(0)), (Status::Ok, 2, 0));
        assert_eq!(counts(BAD, How::Exited(101)), (Status::Failed, 4, 2));
        assert_eq!(closing("test result: ok"), None);
        assert_eq!(closing("test result: ok. many passed; 0 failed; 0 ignored"), None);
    }

    /// Seen failing, each with its look taken out.
    #[test]
    fn counts_that_do_not_add_up_are_a_failure() {
        for text in [
            GOOD.replace("running 2", "running 3"),
            GOOD.replace("2 passed", "1 passed"),
            GOOD.replace("running 2 tests\n", ""),
            GOOD.replace("test a ... ok", "test result: ok. 9 passed; 0 failed; 0 ignored;"),
        ] {
            assert_eq!(counts(&text, How::Exited(0)).0, Status::Failed, "{text}");
        }
    }

    #[test]
    fn a_complaint_says_what_is_wrong_unless_the_output_does() {
        let complaint = |text: &str, how| judge(text, how).complaint;
        assert_eq!(complaint(GOOD, How::Exited(0)), "");
        assert_eq!(complaint(BAD, How::Exited(101)), "");
        assert_eq!(complaint(GOOD, How::Exited(101)), "exits with status 101");
        assert_eq!(complaint(BAD, How::Exited(0)), "reports failures, yet exits as succeeded");
        assert_eq!(complaint(&GOOD.repeat(2), How::Exited(0)), "has several closing lines");
    }

    /// Seen failing with such a test not spoken of.
    #[test]
    fn tests_that_are_left_out_are_told_of() {
        let text = GOOD.replace("2 passed", "1 passed").replace("0 ignored", "1 ignored");
        let report = judge(&text, How::Exited(0));
        assert_eq!((report.status, report.complaint.as_str()), (Status::Ok, "leaves out 1 of its tests"));
    }

    #[test]
    fn this_one_leaves_nothing_out_and_says_so() {
        leave_out("nothing");
    }

    /// Seen failing with what is left out said by `println` and by `eprintln`.
    #[test]
    fn what_a_test_leaves_out_is_told_though_it_passes() {
        let program = Executable {
            path: env::current_exe().unwrap(),
            package: env!("CARGO_MANIFEST_DIR").into(),
            label: "boot".into(),
            is_test: true,
        };
        let limit = Limit::All(Duration::from_secs(60));
        let told = RefCell::new(Vec::new());
        let announce = |test: &str| told.borrow_mut().push(test.to_owned());
        let (report, _) = run(&program, Some("this_one_leaves_nothing_out"), limit, announce).unwrap();
        assert_eq!((report.status, report.passed, report.left_out), (Status::Ok, 1, vec!["nothing".into()]));
        let name = "suites::host_program::tests::this_one_leaves_nothing_out_and_says_so ... ok";
        assert_eq!(told.into_inner(), [name]);
    }

    #[test]
    fn results_of_tests_are_told_from_what_else_is_said() {
        assert_eq!(result("test a::b ... ok"), Some("a::b ... ok"));
        assert_eq!(result("test a ... FAILED"), Some("a ... FAILED"));
        for other in [GOOD.lines().last().unwrap(), "test a has been running for over 60 seconds", "ok"] {
            assert_eq!(result(other), None, "{other}");
        }
    }

    #[test]
    fn a_missing_closing_line_is_a_failure() {
        assert_eq!(counts("running 2 tests\n", How::Exited(0)), (Status::Failed, 0, 1));
        assert_eq!(counts("", How::Exited(0)), (Status::Failed, 0, 1));
    }

    #[test]
    fn an_exit_status_that_disagrees_is_a_failure() {
        assert_eq!(counts(GOOD, How::Exited(1)), (Status::Failed, 2, 1));
        assert_eq!(counts(BAD, How::Exited(0)), (Status::Failed, 4, 2));
        assert_eq!(counts(GOOD, How::Signalled(6)), (Status::Failed, 2, 1));
        assert_eq!(counts("", How::TimedOut), (Status::TimedOut, 0, 1));
    }
}
