//! One host test program and what it reports.

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
    let report = judge(&text, end.how);
    if report.status != Status::Ok {
        print!("{text}");
        eprint!("{}", end.stderr);
    }
    Ok((report, end.took))
}

/// Judges by libtest's closing line and the exit status, which must agree.
fn judge(text: &str, how: How) -> Report {
    let closing = text.lines().rev().find_map(closing);
    let (passed, failed) = closing.unwrap_or_default();
    let bad = |status, complaint: &str| Report {
        status,
        passed,
        failed: failed.max(1),
        complaint: complaint.into(),
    };
    match (how, closing) {
        (How::Exited(0), Some((_, 0))) => {
            Report { status: Status::Ok, passed, failed: 0, complaint: String::new() }
        }
        (How::Exited(0), Some(_)) => bad(Status::Failed, "reports failures, yet exits as succeeded"),
        (How::Exited(0), None) => bad(Status::Failed, "exits without a closing line"),
        (How::Exited(_), Some((_, 1..))) => bad(Status::Failed, ""),
        (How::Exited(number), _) => bad(Status::Failed, &format!("exits with status {number}")),
        (How::TimedOut, _) => bad(Status::TimedOut, "timed out"),
        (How::NotEnded, _) => bad(Status::Failed, "did not end"),
        (How::Signalled(signal), _) => bad(Status::Failed, &format!("was killed by signal {signal}")),
        (How::EndedByUser, _) => bad(Status::Failed, "was ended"),
    }
}

/// Reads `test NAME ... ok`: without the first word.
fn result(line: &str) -> Option<&str> {
    line.strip_prefix("test ").filter(|rest| rest.ends_with(" ... ok") || rest.ends_with(" ... FAILED"))
}

/// Reads `test result: ok. 3 passed; 0 failed; ...`.
fn closing(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        counts.split(';').find_map(|part| part.trim().strip_suffix(name)?.trim_end().parse::<usize>().ok())
    };
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "running 2 tests\ntest a ... ok\n\ntest result: ok. 2 passed; 0 failed; 1 ignored; \
        0 measured; 3 filtered out; finished in 0.00s\n\n";
    const BAD: &str = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";

    fn counts(text: &str, how: How) -> (Status, usize, usize) {
        let report = judge(text, how);
        (report.status, report.passed, report.failed)
    }

    #[test]
    fn closing_lines_are_read() {
        assert_eq!(counts(GOOD, How::Exited(0)), (Status::Ok, 2, 0));
        assert_eq!(counts(BAD, How::Exited(101)), (Status::Failed, 4, 2));
        assert_eq!(closing("test result: ok"), None);
        assert_eq!(closing("test result: ok. many passed; 0 failed"), None);
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
