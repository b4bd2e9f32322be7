//! `machines`: the kernel's tests and a round of soak on each kind of machine, and a table of what came of it.
//!
//! | module | for |
//! |---|---|
//! | `list` | the machines |

mod list;

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use clap::{Args, Parser};

use self::list::{KINDS, Kind};
use crate::machine::emulator;
use crate::machine::options::{Options as Machine, PROGRAM};
use crate::session::judge::Verdict;
use crate::status::{Error, Result, Status};
use crate::suites::kernel;
use crate::{cargo, soak, suites, words};

/// What the user says of the machines.
#[derive(Args, Debug)]
#[group(id = "machines")]
pub struct Options {
    /// Run only the tests whose name contains this
    #[arg(value_parser = words::filter())]
    pub filter: Option<String>,
    /// Only the machines whose options contain this, such as pc or EPYC
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub only: Option<String>,
    /// Another qemu-system-x86_64, by name or path
    #[arg(long, value_name = "PROGRAM", default_value = PROGRAM)]
    pub emulator: String,
}

/// A machine's options, as the user would type them.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(flatten)]
    machine: Machine,
}

/// The machine of a kind.
fn machine(kind: &Kind, emulator: &str) -> Result<Machine> {
    let words = shlex::split(kind.words).unwrap_or_default();
    let line = Line::try_parse_from(words).map_err(|error| Error::usage(error.to_string()))?;
    let mut machine = line.machine;
    emulator.clone_into(&mut machine.qemu.program);
    Ok(machine)
}

/// Runs the tests and a round of soak on each machine, and prints the table.
///
/// # Errors
/// A kernel does not build, a machine cannot be started, or a signal wants this program to end.
pub fn run(options: &Options) -> Result<Status> {
    let only = |kind: &&Kind| options.only.as_ref().is_none_or(|text| kind.words.contains(text));
    let kinds: Vec<&Kind> = KINDS.iter().filter(only).collect();
    if kinds.is_empty() {
        let text = options.only.as_deref().unwrap_or_default();
        return Err(Error::usage(format!("--only {text}: no machine has that among its options")));
    }
    emulator::version(&options.emulator)?;
    let kernels = cargo::test_kernels()?;
    let suite = kernels.into_iter().find(|kernel| kernel.label == suites::SUITE);
    let suite = suite.ok_or_else(|| Error::failed(format!("cargo made no {}", suites::SUITE)))?.path;
    let (mut table, mut all, mut made) =
        (String::from("| machine | options | tests | soak | s |\n|---|---|---|---|---|\n"), Status::Ok, 0);
    for kind in kinds {
        println!("machine: {}: {}", kind.about, kind.words);
        let machine = machine(kind, &options.emulator)?;
        let begin = Instant::now();
        let filter = options.filter.as_deref();
        let tried = emulator::refusal(&machine).and_then(|refusal| match refusal {
            Some(words) => refused(kind, &options.emulator, &words),
            None => tried(kind, &machine, &suite, filter),
        });
        let Row { status, tests, soak } = match tried.or_else(|error| not_started(kind, error)) {
            Ok(row) => row,
            // On the other machines it may do better.
            Err(Error { status: status @ Status::Failed, message }) => {
                Row { status, tests: format!("FAILED: {message}"), soak: "" }
            }
            Err(error) => {
                print!("{table}");
                return Err(error);
            }
        };
        made += u32::from(tests != LEFT_OUT);
        all = all.worse(status);
        let seconds = begin.elapsed().as_secs();
        let _ = writeln!(table, "| {} | `{}` | {tests} | {soak} | {seconds} |", kind.about, kind.words);
    }
    print!("{table}");
    end(all, made, &options.emulator)
}

/// The status of all machines, of which so many were made.
fn end(all: Status, made: u32, emulator: &str) -> Result<Status> {
    match (all, made) {
        (Status::Ok, 0) => Err(Error::unfit(format!("{emulator} makes none of these machines"))),
        _ => Ok(all),
    }
}

/// What the table says of a machine that QEMU does not make.
const LEFT_OUT: &str = "left out";

/// What came of a machine.
struct Row {
    status: Status,
    tests: String,
    soak: &'static str,
}

impl Row {
    /// What is said to be lacking on a machine is lacking.
    fn lacking(what: &str) -> Self {
        Self { status: Status::Ok, tests: what.to_owned(), soak: "" }
    }

    /// Of a machine that lacks `what`, which the kernel has to say.
    fn of_unfit(what: &str, verdict: &Verdict) -> Self {
        let said = verdict.complaints.concat();
        match verdict.status == Status::Unfit && said.contains(what) {
            true => Self::lacking(what),
            false => Self {
                status: verdict.status.worse(Status::Failed),
                tests: format!("FAILED: {said}"),
                soak: "",
            },
        }
    }

    /// Of a machine on which tests ran, and a round of soak.
    fn of(verdict: &Verdict, soak: Status) -> Self {
        let (passed, failed) = (verdict.passed, verdict.failed);
        let none = if passed == 0 { Status::Failed } else { Status::Ok };
        Self {
            status: verdict.status.worse(soak).worse(none),
            tests: format!("{passed} passed, {failed} failed"),
            soak: if soak == Status::Ok { "ok" } else { "FAILED" },
        }
    }
}

/// What comes of a machine that QEMU refuses by these words. Another QEMU than the usual one may be older, or know fewer.
fn refused(kind: &Kind, emulator: &str, words: &str) -> Result<Row> {
    if emulator == PROGRAM && !kind.may_be_refused() {
        return Err(Error::failed(format!("QEMU refuses it: {words}")));
    }
    println!("left out, because QEMU refuses it: {words}");
    Ok(Row { status: Status::Ok, tests: LEFT_OUT.into(), soak: LEFT_OUT })
}

/// What came of a machine that is known to be unfit before it is started.
fn not_started(kind: &Kind, error: Error) -> Result<Row> {
    match kind.lacks {
        Some(what) if error.status == Status::Unfit && error.message.contains(what) => Ok(Row::lacking(what)),
        _ => Err(error),
    }
}

/// Runs the tests and a round of soak on a machine that QEMU makes.
fn tried(kind: &Kind, machine: &Machine, suite: &Path, filter: Option<&str>) -> Result<Row> {
    let (verdict, _) = kernel::run(suite, machine, filter)?;
    match kind.lacks {
        Some(what) => Ok(Row::of_unfit(what, &verdict)),
        None => Ok(Row::of(&verdict, soak::run(&round(machine))?)),
    }
}

/// The round of soak: the same commands on each machine of the same size.
fn round(machine: &Machine) -> soak::Options {
    soak::Options {
        minutes: 1,
        seed: Some(1),
        run: Some(0),
        cpus: vec![machine.cpus()],
        memory: vec![machine.memory],
        commands: None,
        accel: machine.accel,
        qemu: machine.qemu.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemu_can_make_each_machine_or_says_why_not() {
        for kind in &KINDS {
            let refusal = emulator::refusal(&machine(kind, PROGRAM).unwrap());
            // Some cannot even be started.
            let refusal = refusal.unwrap_or_else(|error| {
                assert!(not_started(kind, error).is_ok(), "{}", kind.words);
                None
            });
            assert!(refusal.is_none() || kind.may_be_refused(), "{}: {refusal:?}", kind.words);
        }
    }

    fn kind(words: &'static str, lacks: Option<&'static str>) -> Kind {
        Kind { words, lacks, ..KINDS[0] }
    }

    fn verdict(status: Status, passed: usize, failed: usize, complaint: &str) -> Verdict {
        Verdict { status, passed, failed, complaints: vec![complaint.into()], again: false }
    }

    #[test]
    fn a_row_is_as_bad_as_its_tests_and_its_soak() {
        let row = |status, passed, failed, soak| {
            let row = Row::of(&verdict(status, passed, failed, ""), soak);
            (row.status, row.tests, row.soak)
        };
        assert_eq!(row(Status::Ok, 5, 0, Status::Ok), (Status::Ok, "5 passed, 0 failed".into(), "ok"));
        assert_eq!(row(Status::Ok, 5, 0, Status::Crashed).0, Status::Crashed);
        assert_eq!(row(Status::Ok, 5, 0, Status::Crashed).2, "FAILED");
        let failed = (Status::Failed, "1 passed, 1 failed".into(), "ok");
        assert_eq!(row(Status::Failed, 1, 1, Status::Ok), failed);
        assert_eq!(row(Status::Ok, 0, 0, Status::Ok).0, Status::Failed, "no test at all");
    }

    #[test]
    fn what_a_machine_lacks_has_to_be_said() {
        let row = |status, complaint| Row::of_unfit("no NX", &verdict(status, 0, 0, complaint));
        assert_eq!(row(Status::Unfit, "the CPU has no NX").status, Status::Ok);
        assert_eq!(row(Status::Unfit, "the CPU has no NX").tests, "no NX");
        let other = row(Status::Unfit, "no timer");
        assert_eq!((other.status, &*other.tests), (Status::Unfit.worse(Status::Failed), "FAILED: no timer"));
        assert_eq!(row(Status::Ok, "the CPU has no NX").status, Status::Failed);
        let lacks = kind("--cpu x", Some("no NX"));
        let started = |kind: &Kind, error| not_started(kind, error).is_err();
        assert!(!started(&lacks, Error::unfit("the CPU has no NX")));
        assert!(started(&lacks, Error::failed("the CPU has no NX")));
        assert!(started(&lacks, Error::unfit("no timer")));
        assert!(started(&kind("--cpu x", None), Error::unfit("the CPU has no NX")));
    }

    #[test]
    fn the_usual_qemu_refuses_none_but_what_it_may() {
        let is_failure = |kind: &Kind, emulator| refused(kind, emulator, "no").is_err();
        let (usual, free) =
            (kind("--cpu qemu64", None), KINDS.iter().find(|kind| kind.may_be_refused()).unwrap());
        assert!(is_failure(&usual, PROGRAM) && !is_failure(&usual, "qemu-10"));
        assert!(!is_failure(free, PROGRAM));
        for (words, may) in
            [("--cpu max,+x2apic,enforce", true), ("--qemu '-drive file=x'", true), ("--cpus 2", false)]
        {
            assert_eq!(kind(words, None).may_be_refused(), may, "{words}");
        }
        assert_eq!(end(Status::Ok, 1, PROGRAM).unwrap(), Status::Ok);
        assert_eq!(end(Status::Failed, 0, PROGRAM).unwrap(), Status::Failed);
        assert_eq!(end(Status::Ok, 0, PROGRAM).unwrap_err().status, Status::Unfit);
    }

    #[test]
    fn a_text_that_no_machine_has_is_named() {
        let options = Options { filter: None, only: Some("nosuch".into()), emulator: PROGRAM.into() };
        let error = run(&options).unwrap_err();
        assert!(error.status == Status::Usage && error.message.contains("nosuch"), "{error}");
    }
}
