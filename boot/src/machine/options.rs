//! What the user says of a machine: its size, what runs it, how long it may run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use crate::session::patience::Limit;
use crate::status::{Error, Result};

/// The program that is the machine, unless the user names another.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// How long `exec`, a test kernel or a host test program may say nothing, if the user sets no limit.
pub const TIMEOUT: Duration = Duration::from_secs(600);

/// CPUs of a machine, if the user names no number.
const CPUS: u16 = 2;

/// QEMU's machine type, if the user names none.
const MACHINE: &str = "q35";

/// Firmware and loader hang with 48 MiB and pass with 64 (measured); some is for a larger kernel.
const SMALLEST_MEMORY: Memory = Memory { mebibytes: 96 };

/// The machine to boot, and how long it may run.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// CPUs [default: 2; 1 with --icount]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=255))]
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
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Kernel parameters
    #[arg(long, value_name = "key=value ...", default_value = "", hide_default_value = true)]
    pub append: String,
    /// The emulator.
    #[command(flatten)]
    pub qemu: Qemu,
    /// Let gdb attach on a port [default: 1234], wait for it, and print how to attach
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "1234",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub gdb: Option<u16>,
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
    #[arg(long = "emulator", value_name = "PROGRAM", default_value = PROGRAM, value_parser = NonEmptyStringValueParser::new())]
    pub program: String,
}

impl Default for Qemu {
    fn default() -> Self {
        Self { machine: MACHINE.into(), cpu: None, more: Vec::new(), program: PROGRAM.into() }
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

impl Options {
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
            None if self.gdb.is_some() => Limit::Never,
            _ => self.host_limit(),
        }
    }

    /// Time limit where there is none unless the user says so.
    #[must_use]
    pub fn users_limit(&self) -> Limit {
        match self.timeout {
            Some(limit) => Limit::All(limit),
            None if self.gdb.is_some() => Limit::Never,
            None => Limit::None,
        }
    }

    /// Time limit of programs that run beside the machine.
    #[must_use]
    pub fn host_limit(&self) -> Limit {
        self.timeout.map_or(Limit::Silent(TIMEOUT), Limit::All)
    }

    /// Looks for what each option allows but not all of them together.
    ///
    /// # Errors
    /// Of status [`Status::Usage`](crate::status::Status::Usage), with one line.
    pub fn check(&self) -> Result<()> {
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

/// The longest time limit, in seconds; some multiples of it can still be reckoned with.
const LONGEST: f64 = 1e9;

/// Reads a time limit in seconds, fractions allowed.
fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() && seconds <= LONGEST => Ok(limit),
        _ => Err(format!("must be more than 0 and at most {LONGEST}")),
    }
}
