//! `test`: all host tests, then all models, then all test kernels, and one closing line.

pub mod host_program;
pub mod kernel;

use std::time::Duration;

use crate::cargo;
use crate::cargo::Executable;
use crate::machine::emulator;
use crate::machine::options::{Options, Words};
use crate::status::{Result, Status};
use crate::suites::kernel::Tests;

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

    /// Without a filter each place has tests, or something has lost them: cargo's messages may have changed.
    fn expect_some_since(&mut self, before: Self, place: &str, filter: Option<&str>) {
        if filter.is_none() && self.passed + self.failed == before.passed + before.failed {
            eprintln!("boot: {place} there are no tests");
            self.add(Status::Failed, 0, 1);
        }
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
pub fn run(options: &Options, filter: Option<&str>) -> Result<Status> {
    let mut total = Total::EMPTY;
    // Cargo lists them as they happen to be ready; the order of a run should be known.
    let by_label = |a: &Executable, b: &Executable| a.label.cmp(&b.label);
    let places =
        [("host", cargo::host_tests()?), ("by loom", cargo::models()?), ("by shuttle", cargo::schedules()?)];
    for (place, mut programs) in places {
        programs.sort_by(by_label);
        let before = total;
        for program in programs {
            // A model may take a minute: each is announced.
            let announce = |test: &str| {
                if place != "host" {
                    println!("{place}: {}: {test}", program.label);
                }
            };
            let (report, took) = host_program::run(&program, filter, options.host_limit(), announce)?;
            if !report.complaint.is_empty() {
                eprintln!("boot: {place} {} {}", program.label, report.complaint);
            }
            for why in &report.left_out {
                eprintln!("boot: {place} {} leaves out a test: {why}", program.label);
            }
            line(place, &program.label, report.passed, report.failed, took);
            total.add(report.status, report.passed, report.failed);
        }
        total.expect_some_since(before, place, filter);
    }
    let before = total;
    let mut kernels = cargo::test_kernels()?;
    kernels.sort_by(by_label);
    for kernel in kernels {
        let Some(tests) = Tests::of(&kernel.path)? else {
            eprintln!(
                "boot: {} does not say that it is a test kernel, by protocol::test_kernel!",
                kernel.label
            );
            total.add(Status::Failed, 0, 1);
            continue;
        };
        if !tests.may_run(filter) {
            continue;
        }
        match kernel::image(&kernel.path) {
            // Only this kernel needs what the computer lacks.
            Err(error) if error.status == Status::Unfit => {
                eprintln!("boot: {error}");
                total.add(Status::Unfit, 0, 1);
                continue;
            }
            made => drop(made?),
        }
        for (machine, own) in machines(&kernel.label, options, filter) {
            if !is_to_be_had(&machine, options)? {
                continue;
            }
            let filter = own.or(filter);
            let (mut verdict, took) = kernel::run(&kernel.path, &machine, filter)?;
            if let Some(own) = own
                && verdict.passed + verdict.failed == 0
            {
                eprintln!("boot: no test of {} has {own:?} in its name", kernel.label);
                verdict.failed = 1;
            }
            line("in QEMU", &kernel.label, verdict.passed, verdict.failed, took);
            total.add(verdict.status, verdict.passed, verdict.failed);
        }
    }
    total.expect_some_since(before, "in QEMU", filter);
    if let Some(filter) = filter
        && total.passed + total.failed == 0
    {
        eprintln!("boot: no test has {filter:?} in its name");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.status())
}

/// A machine that the suite runs on besides the user's.
struct Other {
    cpus: u16,
    /// Kernel parameters.
    parameters: &'static str,
    /// Runs only tests with this in their names, and only if the user has no filter.
    own: Option<&'static str>,
    /// QEMU's CPU model, and more words for QEMU; empty unless the machine has APIC ids of its own.
    apic: (&'static str, &'static str),
}

const fn other(cpus: u16, parameters: &'static str, own: Option<&'static str>) -> Other {
    Other { cpus, parameters, own, apic: ("", "") }
}

/// APIC ids 0, 1, 2, 4, 5, 6, without x2APIC where there is one.
const HOLES: (&str, &str) = ("max,x2apic=off", "-smp 6,sockets=2,cores=3,threads=1");
/// APIC ids 0, 1, 256, for which there must be x2APIC; QEMU has it under TCG from version 9 on. KVM leaves remapped
/// interrupts to QEMU only if the IO-APIC is QEMU's too; under TCG that word means nothing.
const HIGH: (&str, &str) = (
    "max,+x2apic,enforce",
    "-machine kernel-irqchip=split -smp 2,sockets=3,cores=96,threads=1,maxcpus=288 \
    -device max-x86_64-cpu,socket-id=2,core-id=0,thread-id=0 -device intel-iommu,intremap=on,eim=on",
);

/// What is true of one number of CPUs need not be of another: the tests of the suite run on each of these machines.
const MACHINES: [Other; 7] = [
    other(1, "", None),
    other(4, "", None),
    other(8, "", None),
    other(4, "isolated=2,3", Some("isolated")),
    other(64, "", Some("all_cpus_at_once")),
    Other { apic: HOLES, ..other(6, "", Some("cpu")) },
    Other { apic: HIGH, ..other(2, "", Some("cpu")) },
];
/// The kernel that has tests of everything, as opposed to those with one of their own.
pub const SUITE: &str = "kernel suite";

/// The machines to run a test kernel on, and which tests if not those that the user wants: the user's machine; without
/// a user's choice of CPUs more of them.
fn machines(label: &str, options: &Options, filter: Option<&str>) -> Vec<(Options, Option<&'static str>)> {
    let mut all = vec![(options.clone(), None)];
    let chosen = options.cpus.is_some() || options.icount.is_some() || !options.append.is_empty();
    if label != SUITE || chosen {
        return all;
    }
    for Other { cpus, parameters, own, apic: (cpu, words) } in MACHINES {
        if own.is_some() && filter.is_some() || !cpu.is_empty() && options.qemu.cpu.is_some() {
            continue;
        }
        let mut machine = Options { cpus: Some(cpus), append: parameters.to_owned(), ..options.clone() };
        if !cpu.is_empty() {
            machine.qemu.cpu = Some(cpu.to_owned());
            machine.qemu.more.push(Words(words.split_whitespace().map(str::to_owned).collect()));
        }
        all.push((machine, own));
    }
    all
}

/// Whether QEMU has what a machine of the suite needs besides; if not, says that the machine is left out.
fn is_to_be_had(machine: &Options, options: &Options) -> Result<bool> {
    if machine.qemu == options.qemu {
        return Ok(true);
    }
    let refusal = emulator::refusal(machine)?;
    if let Some(words) = &refusal {
        let cpu = machine.qemu.cpu.as_deref().unwrap_or_default();
        eprintln!(
            "boot: a machine is left out, --cpu {cpu} with APIC ids of its own, because QEMU refuses it: {words}"
        );
    }
    Ok(refusal.is_none())
}

fn line(place: &str, label: &str, passed: usize, failed: usize, took: Duration) {
    println!("{place}: {label}: {passed} passed, {failed} failed ({:.1} s)", took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::machine::options::Qemu;

    fn total(parts: &[(Status, usize, usize)]) -> Status {
        let mut total = Total::EMPTY;
        for &(status, passed, failed) in parts {
            total.add(status, passed, failed);
        }
        total.status()
    }

    fn options(arguments: &[&str]) -> Options {
        let words = ["test"].iter().chain(arguments).map(|&word| word.into());
        match cli::parse(words.collect()).map(|cli| cli.action) {
            Ok(cli::Action::Test { machine, .. }) => machine,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_suite_runs_on_several_machines_unless_the_user_names_one() {
        assert_eq!(machines(SUITE, &options(&[]), None).len(), 1 + MACHINES.len());
        assert_eq!(machines(SUITE, &options(&[]), Some("heap")).len(), 4);
        assert_eq!(machines("kernel panic", &options(&[]), None).len(), 1);
        for chosen in [&["--cpus", "3"][..], &["--icount"], &["--append", "isolated=1"]] {
            assert_eq!(machines(SUITE, &options(chosen), None).len(), 1, "{chosen:?}");
        }
        let of_users_cpu = machines(SUITE, &options(&["--cpu", "qemu64"]), None);
        assert!(of_users_cpu.iter().all(|(machine, _)| machine.qemu.cpu.as_deref() == Some("qemu64")));
    }

    #[test]
    fn machines_with_apic_ids_of_their_own_keep_the_users_words_and_are_asked_for() {
        let options = options(&["--qemu", "-name x", "--accel", "tcg"]);
        let own =
            machines(SUITE, &options, None).into_iter().filter(|(machine, _)| machine.qemu.cpu.is_some());
        let machines: Vec<_> = own.map(|(machine, _)| machine).collect();
        assert_eq!(machines.len(), 2);
        for machine in &machines {
            assert_eq!(machine.qemu.more[0], options.qemu.more[0]);
        }
        assert!(is_to_be_had(&machines[0], &options).unwrap());
        let nowhere = Qemu { cpu: Some("nosuch".into()), ..options.qemu.clone() };
        assert!(!is_to_be_had(&Options { qemu: nowhere, ..options.clone() }, &options).unwrap());
    }

    #[test]
    fn nothing_run_is_a_failure() {
        assert_eq!(total(&[]), Status::Failed);
        assert_eq!(total(&[(Status::Ok, 0, 0), (Status::Ok, 0, 0)]), Status::Failed);
    }

    /// Seen failing without that look.
    #[test]
    fn a_place_that_has_lost_all_its_tests_is_a_failure_without_a_filter() {
        let before = Total { passed: 5, ..Total::EMPTY };
        let status = |mut total: Total, filter| {
            total.expect_some_since(before, "in QEMU", filter);
            total.status()
        };
        assert_eq!(status(before, None), Status::Failed);
        assert_eq!(status(before, Some("x")), Status::Ok);
        assert_eq!(status(Total { passed: 6, ..before }, None), Status::Ok);
        // As many of them failed as passed.
        let mut both = Total::EMPTY;
        both.add(Status::Failed, 1, 1);
        both.expect_some_since(Total::EMPTY, "in QEMU", None);
        assert_eq!(both.failed, 1);
        let mut none = both;
        none.expect_some_since(both, "in QEMU", None);
        assert_eq!(none.failed, 2);
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
