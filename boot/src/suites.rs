//! `test`: all host tests, then all test kernels, and one closing line.

use std::time::Duration;

use crate::cargo::Executable;
use crate::status::{Result, Status};
use crate::{cargo, cli, host_tests, test_kernel};

/// What the suites so far came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Total {
    status: Status,
    passed: usize,
    failed: usize,
}

impl Total {
    const EMPTY: Self = Self { status: Status::Ok, passed: 0, failed: 0 };

    fn add(&mut self, status: Status, passed: usize, failed: usize) {
        self.status = self.status.worse(status);
        self.passed += passed;
        self.failed += failed;
    }

    /// The status of all; a success of no test at all is none.
    fn status(&self) -> Status {
        match self {
            Self { status: Status::Ok, passed: 0, .. } | Self { status: Status::Ok, failed: 1.., .. } => {
                Status::Failed
            }
            Self { status, .. } => *status,
        }
    }
}

/// Runs all tests whose name contains the filter.
///
/// # Errors
/// If something cannot be built or started.
pub fn run(options: &cli::Machine, filter: Option<&str>) -> Result<Status> {
    let mut total = Total::EMPTY;
    // Cargo lists them as they happen to be ready; the order of a run should be known.
    let by_label = |a: &Executable, b: &Executable| a.label.cmp(&b.label);
    let mut programs = cargo::host_tests()?;
    programs.sort_by(by_label);
    for program in programs {
        let (report, took) = host_tests::run(&program, filter, options.limit().unwrap_or(cli::TIMEOUT))?;
        if !report.complaint.is_empty() {
            eprintln!("boot: host {} {}", program.label, report.complaint);
        }
        line("host", &program.label, report.passed, report.failed, took);
        total.add(report.status, report.passed, report.failed);
    }
    let mut kernels = cargo::test_kernels()?;
    kernels.sort_by(by_label);
    for kernel in kernels {
        let (verdict, took) = test_kernel::run(&kernel.path, options, filter)?;
        line("in QEMU", &kernel.label, verdict.passed, verdict.failed, took);
        total.add(verdict.status, verdict.passed, verdict.failed);
    }
    if total.passed + total.failed == 0 {
        match filter {
            Some(filter) => eprintln!("boot: no test has {filter:?} in its name"),
            None => eprintln!("boot: there are no tests"),
        }
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.status())
}

fn line(place: &str, label: &str, passed: usize, failed: usize, took: Duration) {
    println!("{place}: {label}: {passed} passed, {failed} failed ({:.1} s)", took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(parts: &[(Status, usize, usize)]) -> Status {
        let mut total = Total::EMPTY;
        for &(status, passed, failed) in parts {
            total.add(status, passed, failed);
        }
        total.status()
    }

    #[test]
    fn nothing_run_is_a_failure() {
        assert_eq!(total(&[]), Status::Failed);
        assert_eq!(total(&[(Status::Ok, 0, 0), (Status::Ok, 0, 0)]), Status::Failed);
    }

    #[test]
    fn a_suite_without_tests_among_others_is_fine() {
        assert_eq!(total(&[(Status::Ok, 0, 0), (Status::Ok, 3, 0)]), Status::Ok);
    }

    #[test]
    fn a_crash_is_not_hidden_by_what_follows() {
        let parts =
            [(Status::Failed, 1, 1), (Status::Crashed, 0, 1), (Status::Ok, 9, 0), (Status::TimedOut, 0, 1)];
        assert_eq!(total(&parts), Status::Crashed);
    }

    #[test]
    fn a_failure_that_no_status_tells_of_is_still_one() {
        assert_eq!(total(&[(Status::Ok, 5, 1)]), Status::Failed);
    }
}
