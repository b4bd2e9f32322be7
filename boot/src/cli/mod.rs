//! What the user types.
//!
//! One wrong word gives one line on standard error that names it, and exit
//! status 2. `run.sh` only looks at the first word; all else is read here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::bench;
use crate::dat;
use crate::machine::options::Options;
use crate::machines;
use crate::mutants;
use crate::replay;
use crate::report;
use crate::rooms::Crate;
use crate::soak;
use crate::status::{Error, Result};
use crate::words;

/// Boots the vmalloc kernel in QEMU, and tests it.
#[derive(Debug, Parser)]
#[command(name = "./run.sh", bin_name = "./run.sh", version, disable_help_subcommand = true)]
#[command(
    after_help = "Without an action: boot. Exit status: 0 all well; 1 a command or test failed; 2 usage; \
    3 the kernel panicked, faulted or reset; 4 this computer lacks something; 124 timed out.\n\n\
    The environment variable VMALLOC_TOOLCHAIN=rustup|debian forces the Rust toolchain that run.sh uses; \
    OVMF_PATH names the UEFI firmware."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Boot to the console on this terminal
    Boot(Options),
    /// Boot, run console commands, print exactly what they print, power off
    Exec {
        /// Console commands, separated by semicolons
        #[arg(value_name = "CMD; CMD; ...", value_parser = words::commands())]
        commands: String,
        /// The machine.
        #[command(flatten)]
        machine: Options,
    },
    /// Run the host tests and the kernel's tests
    Test {
        /// Run only the tests whose name contains this
        #[arg(value_parser = words::filter())]
        filter: Option<String>,
        /// The machine.
        #[command(flatten)]
        machine: Options,
    },
    /// Run random sequences of the library's calls on the host, beside a model, and shrink what fails
    #[command(disable_help_flag = true)]
    Fuzz {
        /// What `./run.sh fuzz --help` tells of
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        arguments: Vec<OsString>,
    },
    /// Run random loads on random machines until the time is up, and say how to repeat what fails
    Soak(soak::Options),
    /// Run the kernel's tests, and a round of soak, on each kind of machine that QEMU can be, and print a table
    Machines(machines::Options),
    /// Change a package's code in one place after the other, and say which changes no unit test sees
    Mutants(mutants::Options),
    /// Run the benchmark suite and print tables
    Bench(bench::Options),
    /// Make the vmalloc calls of a trace from a Linux again, and print a table of both
    Replay(replay::Options),
    /// Write a trace of text as trace.dat, which trace-cmd report and kernelshark open
    Trace(dat::Options),
    /// Draw what the benchmark suite measures, in one HTML file
    Report(report::Options),
    /// Draw the modules of crates as rooms, and fail where one uses a room above it
    Rooms {
        /// Only these crates [default: all]
        #[arg(value_enum, value_name = "CRATE")]
        crates: Vec<Crate>,
    },
    /// Install what is missing, so that plain `cargo run` and `cargo test` work
    // Done by run.sh before this program exists; here for --help.
    Setup,
    /// Cargo's runner
    #[command(hide = true, disable_help_flag = true)]
    RunElf {
        /// The kernel or test kernel that cargo built.
        elf: PathBuf,
        /// What the user gave after `--`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// What may follow `cargo run --`.
#[derive(Debug, Parser)]
#[command(name = "cargo run --", bin_name = "cargo run --")]
pub struct RunArguments {
    /// The machine.
    #[command(flatten)]
    pub machine: Options,
}

/// What may follow `cargo test --`.
#[derive(Debug, Parser)]
#[command(name = "cargo test --", bin_name = "cargo test --")]
pub struct TestArguments {
    /// Run only the tests whose name contains this
    #[arg(value_parser = words::filter())]
    pub filter: Option<String>,
    /// The machine.
    #[command(flatten)]
    pub machine: Options,
    /// Accepted as libtest does; test kernels hide nothing
    #[arg(long, visible_alias = "show-output")]
    pub nocapture: bool,
    /// Accepted as libtest does, because `cargo test --quiet` gives it; test kernels hide nothing
    #[arg(short, long)]
    pub quiet: bool,
    /// Accepted as libtest does; test kernels run one test at a time
    #[arg(long, value_name = "N")]
    pub test_threads: Option<u32>,
}

/// Reads the words after the program's name.
///
/// # Errors
/// Of status [`Status::Usage`](crate::status::Status::Usage), with one line; of status
/// [`Status::Ok`](crate::status::Status::Ok) and no line if help was asked for and has been printed.
pub fn parse(mut words: Vec<OsString>) -> Result<Cli> {
    let is_option = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    let about_program =
        |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|option| word == option);
    if words.first().is_none_or(|word| is_option(word) && !about_program(word)) {
        words.insert(0, "boot".into());
    }
    let cli: Cli = read("./run.sh", words)?;
    match &cli.action {
        Action::Boot(machine) | Action::Exec { machine, .. } | Action::Test { machine, .. } => {
            machine.check()?
        }
        Action::Replay(options) => options.machine.check()?,
        Action::Bench(_)
        | Action::Report(_)
        | Action::Trace(_)
        | Action::Rooms { .. }
        | Action::Fuzz { .. }
        | Action::Soak(_)
        | Action::Machines(_)
        | Action::Mutants(_)
        | Action::Setup
        | Action::RunElf { .. } => {}
    }
    Ok(cli)
}

/// Reads the words after `cargo run --`.
///
/// # Errors
/// As [`parse`].
pub fn parse_run_arguments(words: Vec<OsString>) -> Result<RunArguments> {
    let arguments: RunArguments = read("cargo run --", words)?;
    arguments.machine.check()?;
    Ok(arguments)
}

/// Reads the words after `cargo test --`.
///
/// # Errors
/// As [`parse`].
pub fn parse_test_arguments(words: Vec<OsString>) -> Result<TestArguments> {
    let arguments: TestArguments = read("cargo test --", words)?;
    arguments.machine.check()?;
    Ok(arguments)
}

fn read<T: Parser>(program: &str, mut words: Vec<OsString>) -> Result<T> {
    words.insert(0, program.into());
    T::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nothing is left to tell if standard output is closed.
            let _ = error.print();
            Error { status: crate::status::Status::Ok, message: String::new() }
        }
        _ => Error::usage(one_line(&error.to_string())),
    })
}

/// The first paragraph of clap's message, and what it says of a similar word, on one line. That any word can be passed as a
/// value helps nobody.
fn one_line(message: &str) -> String {
    let mut paragraphs = message.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        words.join(" ")
    });
    let what = paragraphs.next().unwrap_or_default();
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned));
    let tip = tip.filter(|tip| !tip.starts_with("to pass ")).map(|tip| format!("; {tip}"));
    what.trim_start_matches("error: ").to_owned() + &tip.unwrap_or_default()
}

#[cfg(test)]
mod tests;
