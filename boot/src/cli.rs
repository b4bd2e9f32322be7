//! What the user types.
//!
//! One wrong word gives one line on standard error that names it, and exit
//! status 2. `run.sh` only looks at the first word; all else is read here.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, ValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bench::figure::Part;
use crate::patience::Limit;
use crate::qemu;
use crate::rooms::Crate;
use crate::status::{Error, Result};

/// How long `exec`, a test kernel or a host test program may say nothing, if the user sets no limit.
pub const TIMEOUT: Duration = Duration::from_secs(600);

/// CPUs of a machine, if the user names no number.
const CPUS: u16 = 2;

/// QEMU's machine type, if the user names none.
const MACHINE: &str = "q35";

/// Firmware and loader hang with 48 MiB and pass with 64 (measured); some is for a larger kernel.
const SMALLEST_MEMORY: Memory = Memory { mebibytes: 96 };

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
    Boot(Machine),
    /// Boot, run console commands, print exactly what they print, power off
    Exec {
        /// Console commands, separated by semicolons
        #[arg(value_name = "CMD; CMD; ...", value_parser = commands())]
        commands: String,
        /// The machine.
        #[command(flatten)]
        machine: Machine,
    },
    /// Run the host tests and the kernel's tests
    Test {
        /// Run only the tests whose name contains this
        filter: Option<String>,
        /// The machine.
        #[command(flatten)]
        machine: Machine,
    },
    /// Run the benchmark suite and print tables
    Bench(Bench),
    /// Draw the figures
    Report,
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

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// Run only these parts [default: all]
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Write all figures to this file too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure Linux too, on the same machines; it is built first, in some minutes
    #[arg(long)]
    pub linux: bool,
    /// Compare with what was recorded of Linux, and do not build it
    #[arg(long)]
    pub recorded: bool,
    /// What runs the guest's instructions where they are timed, not counted
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
}

impl Bench {
    /// The parts to run, each once, in their order.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| self.parts.is_empty() || self.parts.contains(part)).collect()
    }
}

/// What may follow `cargo run --`.
#[derive(Debug, Parser)]
#[command(name = "cargo run --", bin_name = "cargo run --")]
pub struct RunArguments {
    /// The machine.
    #[command(flatten)]
    pub machine: Machine,
}

/// What may follow `cargo test --`.
#[derive(Debug, Parser)]
#[command(name = "cargo test --", bin_name = "cargo test --")]
pub struct TestArguments {
    /// Run only the tests whose name contains this
    pub filter: Option<String>,
    /// The machine.
    #[command(flatten)]
    pub machine: Machine,
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

/// The machine to boot, and how long it may run.
#[derive(Args, Clone, Debug)]
pub struct Machine {
    /// CPUs [default: 2; 1 with --icount]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=255))]
    pub cpus: Option<u16>,
    /// Memory, with suffix M or G
    #[arg(long, value_name = "SIZE", default_value_t = Memory { mebibytes: 1024 })]
    pub memory: Memory,
    /// Have the computer give the machine all its memory before it starts: for who measures time
    #[arg(long)]
    pub prealloc: bool,
    /// Count instructions instead of time: 2^SHIFT ns each, on one CPU, the same in every run [default shift: 6]
    #[arg(long, value_name = "SHIFT", num_args = 0..=1, require_equals = true, default_missing_value = "6",
        value_parser = clap::value_parser!(u8).range(0..=10))]
    pub icount: Option<u8>,
    /// What runs the guest's instructions
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// Let the machine run no longer; a busy computer's seconds count as far as it gets them,
    /// but 20 times as long on the wall's clock ends it [default: no limit for boot, otherwise 600 without a word from it]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Kernel parameters
    #[arg(long, value_name = "key=value ...", default_value = "", hide_default_value = true)]
    pub append: String,
    /// The emulator.
    #[command(flatten)]
    pub qemu: Qemu,
    /// Let gdb attach on port 1234, and wait for it
    #[arg(long)]
    pub gdb: bool,
    /// Print the QEMU command
    #[arg(long)]
    pub verbose: bool,
}

/// QEMU, and what of the machine only QEMU knows the names of.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// QEMU's machine type, and its properties
    #[arg(long, value_name = "NAME[,OPTION...]", default_value = MACHINE, value_parser = NonEmptyStringValueParser::new())]
    pub machine: String,
    /// QEMU's CPU model, and its features [default: max; host with KVM]
    #[arg(long, value_name = "MODEL", value_parser = NonEmptyStringValueParser::new())]
    pub cpu: Option<String>,
    /// More arguments for QEMU, split into words as a shell does; may be given more than once
    #[arg(long = "qemu", value_name = "ARG ...", allow_hyphen_values = true)]
    pub more: Vec<Words>,
    /// Another qemu-system-x86_64, by name or path
    #[arg(long = "emulator", value_name = "PROGRAM", default_value = qemu::PROGRAM, value_parser = NonEmptyStringValueParser::new())]
    pub program: String,
}

impl Default for Qemu {
    fn default() -> Self {
        Self { machine: MACHINE.into(), cpu: None, more: Vec::new(), program: qemu::PROGRAM.into() }
    }
}

/// Words that were given as one, split as a POSIX shell splits them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl FromStr for Words {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        shlex::split(text).map(Self).ok_or_else(|| "a quote is not closed".into())
    }
}

impl Machine {
    /// CPUs of the machine.
    #[must_use]
    pub fn cpus(&self) -> u16 {
        self.cpus.unwrap_or(if self.icount.is_some() { 1 } else { CPUS })
    }

    /// Time limit where there is one unless the user says otherwise. A
    /// debugger stops the machine, not the clock, so there is none with it.
    #[must_use]
    pub fn limit(&self) -> Limit {
        match self.timeout {
            None if self.gdb => Limit::Never,
            _ => self.host_limit(),
        }
    }

    /// Time limit where there is none unless the user says so.
    #[must_use]
    pub fn users_limit(&self) -> Limit {
        match self.timeout {
            Some(limit) => Limit::All(limit),
            None if self.gdb => Limit::Never,
            None => Limit::None,
        }
    }

    /// Time limit of programs that run beside the machine.
    #[must_use]
    pub fn host_limit(&self) -> Limit {
        self.timeout.map_or(Limit::Silent(TIMEOUT), Limit::All)
    }

    /// Looks for what each option allows but not all of them together.
    fn check(&self) -> Result<()> {
        if let (Some(_), Some(cpus @ 2..)) = (self.icount, self.cpus) {
            return Err(Error::usage(format!("--cpus {cpus}: --icount allows one CPU only")));
        }
        if self.icount.is_some() && self.accel == Accel::Kvm {
            return Err(Error::usage("--accel kvm: --icount needs tcg"));
        }
        if self.memory < SMALLEST_MEMORY {
            return Err(Error::usage(format!(
                "--memory {}: firmware and loader need at least {SMALLEST_MEMORY}",
                self.memory
            )));
        }
        Ok(())
    }
}

/// What runs the guest's instructions, as the user asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if it works here, otherwise TCG
    Auto,
    /// Emulation in software
    Tcg,
    /// The CPU's virtualization
    Kvm,
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// The amount in MiB.
    pub mebibytes: u32,
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (digits, unit) = match text.as_bytes() {
            [.., b'M' | b'm'] => (&text[..text.len() - 1], 1),
            [.., b'G' | b'g'] => (&text[..text.len() - 1], 1024),
            _ => return Err("give a size with suffix M or G, such as 256M or 8G".into()),
        };
        // u32's own parser allows a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("give a whole number with suffix M or G, such as 256M or 8G".into());
        }
        let number: u32 = digits.parse().map_err(|error| format!("{error}"))?;
        let mebibytes = number.checked_mul(unit).ok_or("more than a machine can have")?;
        Ok(Self { mebibytes })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mebibytes {
            mebibytes if mebibytes > 0 && mebibytes.is_multiple_of(1024) => {
                write!(f, "{}G", mebibytes / 1024)
            }
            mebibytes => write!(f, "{mebibytes}M"),
        }
    }
}

/// Reads a time limit in seconds, fractions allowed.
fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => Err("must be more than 0".into()),
    }
}

/// Reads console commands; there must be one.
fn commands() -> ValueParser {
    ValueParser::new(|text: &str| match text.split(';').all(|command| command.trim().is_empty()) {
        true => Err("no command".to_owned()),
        false => Ok(text.to_owned()),
    })
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
        Action::Bench(_) | Action::Report | Action::Rooms { .. } | Action::Setup | Action::RunElf { .. } => {}
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

/// The first paragraph of clap's message, on one line.
fn one_line(message: &str) -> String {
    let paragraph = message.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
