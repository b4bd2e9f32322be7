//! Chooses what runs the guest's instructions: KVM or TCG.
//!
//! `/dev/kvm` may exist and open where no guest can run on it, and QEMU then
//! hangs or asserts. So KVM is used only where the CPU has the extension *and*
//! a trial machine has run to its end.

use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli::{self, Accel};
use crate::patience::Limit;
use crate::scratch::Scratch;
use crate::status::{Error, Result};
use crate::{cargo, qemu, session};

/// How long the trial machine may take. It has three instructions to run.
const TRIAL: Limit = Limit::All(Duration::from_secs(5));

/// What the trial machine writes to QEMU's exit port.
const TRIAL_VALUE: u8 = 0x2a;

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The CPU's virtualization.
    Kvm,
    /// Emulation in software.
    Tcg,
}

/// A choice, and why it fell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Why not the other one; empty if the user said so.
    pub reason: String,
}

/// Does as the user asks if that works here.
///
/// # Errors
/// Of status [`Status::Unfit`](crate::status::Status::Unfit) if the user asks
/// for KVM and it does not work here.
pub fn choose(options: &cli::Machine) -> Result<Choice> {
    let tcg = |reason| Ok(Choice { accelerator: Accelerator::Tcg, reason });
    match options.accel {
        Accel::Tcg => tcg(String::new()),
        Accel::Auto if options.icount.is_some() => tcg("instructions are counted".into()),
        Accel::Auto => match kvm_works(options) {
            Ok(()) => Ok(Choice { accelerator: Accelerator::Kvm, reason: String::new() }),
            Err(why) => tcg(format!("no KVM: {why}")),
        },
        Accel::Kvm => match kvm_works(options) {
            Ok(()) => Ok(Choice { accelerator: Accelerator::Kvm, reason: String::new() }),
            Err(why) => Err(Error::unfit(format!("--accel kvm: {why}"))),
        },
    }
}

/// Whether a guest can run on KVM here; if not, why.
fn kvm_works(options: &cli::Machine) -> std::result::Result<(), String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").map_err(|error| format!("/proc/cpuinfo: {error}"))?;
    if !has_virtualization(&cpu) {
        return Err("the CPU has neither vmx nor svm".into());
    }
    let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    device.map_err(|error| format!("/dev/kvm: {error}"))?;
    trial(options, Accelerator::Kvm)
}

/// Whether the flags of `/proc/cpuinfo` have the extension of either maker.
fn has_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
}

/// Runs a machine whose firmware is three instructions.
///
/// # Errors
/// Why the machine did not run to its end.
fn trial(options: &cli::Machine, accelerator: Accelerator) -> std::result::Result<(), String> {
    let folder = cargo::target_folder("runs").and_then(|runs| Scratch::within(&runs));
    let folder = folder.map_err(|error| error.message)?;
    let rom = folder.path().join("rom");
    fs::write(&rom, trial_rom()).map_err(|error| error.to_string())?;
    let mut command = Command::new(&options.qemu.program);
    command.args(qemu::bare_machine(options, accelerator)).args(qemu::EXIT_DEVICE);
    command.arg("-bios").arg(rom).args(qemu::users_words(options)).stdin(Stdio::null());
    let end = session::run(command, None, TRIAL, &mut |_| ControlFlow::Continue(()))
        .map_err(|error| error.message)?;
    match end.how {
        session::How::Exited(status) if status == i32::from(TRIAL_VALUE) << 1 | 1 => Ok(()),
        session::How::TimedOut => Err("a trial machine hung".into()),
        _ => Err(format!("a trial machine failed {}", end.stderr.lines().next().unwrap_or_default())),
    }
}

/// 64 KiB that end at 4 GiB, where a CPU starts in real mode 16 bytes below.
fn trial_rom() -> Vec<u8> {
    let mut rom = vec![0xf4; 64 << 10];
    let start = rom.len() - 16;
    // mov al, TRIAL_VALUE; out EXIT_PORT, al; the rest is hlt.
    let port = u8::try_from(protocol::EXIT_PORT).expect("the exit port has a short form");
    rom[start..start + 4].copy_from_slice(&[0xb0, TRIAL_VALUE, 0xe6, port]);
    rom
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn options(words: &[&str]) -> cli::Machine {
        cli::parse_run_arguments(words.iter().map(OsString::from).collect()).unwrap().machine
    }

    #[test]
    fn the_trial_machine_runs_to_its_end_under_tcg() {
        trial(&options(&[]), Accelerator::Tcg).unwrap();
    }

    #[test]
    fn the_flags_decide_not_other_lines() {
        assert!(has_virtualization("processor: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualization("flags : svm\n"));
        assert!(!has_virtualization("flags : fpu svm_lock\nvmx flags : vnmi\n"));
        assert!(!has_virtualization("model name : vmx svm\nflags : fpu\n"));
        assert!(!has_virtualization(""));
    }

    #[test]
    fn the_users_word_and_icount_mean_tcg() {
        assert_eq!(choose(&options(&["--accel", "tcg"])).unwrap().accelerator, Accelerator::Tcg);
        assert_eq!(choose(&options(&["--icount"])).unwrap().accelerator, Accelerator::Tcg);
    }
}
