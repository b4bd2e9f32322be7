//! Asks QEMU whether it can make a machine, before anything is built for it.
//!
//! Only QEMU knows which machine types, CPU models and arguments it has. It
//! is asked to make the machine and to quit before the first instruction, so
//! that what the user typed wrong costs a fraction of a second, and QEMU's own
//! words say what it was.

use std::io::{Seek, Write};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::options::{Options, Qemu};
use super::{choice, qemu};
use crate::session::patience::Limit;
use crate::session::serial::Output;
use crate::session::{self, How};
use crate::status::{Doing, Error, Result, Status};

/// What each QEMU answers to `--version` first.
const NAME: &str = "QEMU emulator version ";

/// What firmware and boot loader take for granted: QEMU's names, and the user's.
///
/// Without it the machine is reset, or stands still, before the kernel could say anything.
const NEEDED: [(&str, &str); 3] = [("lm", "long mode"), ("nx", "NX"), ("fxsr", "FXSR")];

/// The first CPU, as QEMU's monitor names it.
const FIRST_CPU: &str = "/machine/unattached/device[0]";

/// How long an answer may take.
const LIMIT: Limit = Limit::All(Duration::from_secs(30));

/// Checks what the user says of the emulator, if anything.
///
/// # Errors
/// Of status [`Status::Unfit`] if the program is not there, or the CPU lacks
/// what firmware and boot loader need, of [`Status::Usage`] if the program is
/// no QEMU or refuses the machine.
pub fn check(options: &Options) -> Result<()> {
    if options.qemu == Qemu::default() {
        return Ok(());
    }
    version(&options.qemu.program)?;
    match refusal(options)? {
        None => Ok(()),
        Some(words) => Err(Error::usage(format!("QEMU refuses this machine: {words}"))),
    }
}

/// The version of the QEMU that `program` is, as it says it: `7.2.22 (Debian ...)`.
///
/// # Errors
/// Of status [`Status::Unfit`] if the program is not there, of [`Status::Usage`] if it is no QEMU.
pub fn version(program: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null());
    let mut text = Vec::new();
    let end = session::run(command, None, LIMIT, &mut |output| {
        if let Output::Text(piece) = output {
            text.extend_from_slice(piece);
        }
        ControlFlow::Continue(())
    });
    if let Err(error) = end {
        // That it is not there is what the computer lacks; all else is what the user typed.
        return Err(match error.status {
            Status::Failed => Error::usage(format!("--emulator {program}: {error}")),
            _ => error,
        });
    }
    let text = String::from_utf8_lossy(&text);
    match text.lines().next().and_then(|line| line.strip_prefix(NAME)) {
        Some(version) => Ok(version.to_owned()),
        None => {
            Err(Error::usage(format!("--emulator {program}: is no QEMU, by what it answers to --version")))
        }
    }
}

/// Why QEMU cannot make the machine, in its own words on one line; `None` if it can.
///
/// # Errors
/// Of status [`Status::Unfit`] if QEMU makes it, but with a CPU that lacks what firmware and boot loader need.
/// Others if QEMU could not be started, says neither yes nor no, or a signal wants this program to end.
pub fn refusal(options: &Options) -> Result<Option<String>> {
    let accelerator = choice::without_kernel(options)?;
    let mut orders = tempfile::tempfile().doing("make a temporary file")?;
    let questions: String = NEEDED.iter().map(|(name, _)| format!("qom-get {FIRST_CPU} {name}\n")).collect();
    let text = questions + "quit\n";
    orders.write_all(text.as_bytes()).and_then(|()| orders.rewind()).doing("write a temporary file")?;
    let mut command = Command::new(&options.qemu.program);
    command.args(qemu::bare_machine(options, accelerator)).args(qemu::EXIT_DEVICE);
    command.args(["-S", "-chardev", "stdio,id=orders", "-mon", "chardev=orders"]);
    command.args(qemu::users_words(options)).stdin(orders);
    let mut answers = Vec::new();
    let end = session::run(command, None, LIMIT, &mut |output| {
        if let Output::Text(piece) = output {
            answers.extend_from_slice(piece);
        }
        ControlFlow::Continue(())
    })?;
    let words: Vec<&str> = end.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match end.how {
        How::Exited(0) => match lacking(&String::from_utf8_lossy(&answers)) {
            Some(what) => Err(Error::unfit(format!(
                "the machine is unfit: the CPU has no {what}, which firmware and boot loader need"
            ))),
            None => Ok(None),
        },
        How::Exited(_) if !words.is_empty() => Ok(Some(words.join("; "))),
        // A crash is no refusal: it would hide that nothing was tried on the machine.
        other => {
            let said = if words.is_empty() { "without a word".into() } else { words.join("; ") };
            Err(Error::failed(format!(
                "QEMU was asked whether it makes a machine, and ended as {other:?}: {said}"
            )))
        }
    }
}

/// The first of [`NEEDED`] that a CPU lacks, by the answers of QEMU's monitor: a line `true` or `false` for each.
///
/// A QEMU that answers otherwise is believed to have all.
fn lacking(answers: &str) -> Option<&'static str> {
    let answers: Vec<bool> = answers.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let (_, what) = NEEDED[answers.iter().position(|has| !has)?];
    (answers.len() == NEEDED.len()).then_some(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::scripts::write_script;
    use std::ffi::OsString;

    fn checked(words: &[&str]) -> Result<()> {
        let words = words.iter().chain(&["--accel", "tcg"]).map(OsString::from);
        check(&cli::parse_run_arguments(words.collect()).unwrap().machine)
    }

    #[test]
    fn machines_that_qemu_can_make_pass() {
        for words in [
            &["--machine", "q35,pit=off"][..],
            &["--cpu", "qemu64,-sep"],
            &["--qemu", "-name 'a b'", "--cpus", "4"],
            &["--emulator", "qemu-system-x86_64"],
        ] {
            assert_eq!(checked(words), Ok(()), "{words:?}");
        }
    }

    #[test]
    fn what_qemu_refuses_is_usage_and_told_in_its_words_on_one_line() {
        for (words, named) in [
            (&["--machine", "nosuch"][..], "unsupported machine type"),
            (&["--machine", "q35,nosuch=on"], "nosuch"),
            (&["--cpu", "nosuch"], "nosuch"),
            (&["--qemu", "-nosuch"], "-nosuch"),
            (&["--qemu", "-device nosuch"], "nosuch"),
        ] {
            let error = checked(words).unwrap_err();
            assert_eq!(
                (error.status, error.message.lines().count()),
                (Status::Usage, 1),
                "{words:?} {error}"
            );
            assert!(error.message.contains(named), "{words:?}: {error}");
        }
    }

    /// Seen failing: the boot loader reset the machine, which was a crash.
    #[test]
    fn a_cpu_that_the_boot_loader_cannot_use_is_unfit() {
        for (cpu, what) in [
            ("max,-nx", "has no NX,"),
            ("max,nx=off,-pat", "has no NX,"),
            ("max,-fxsr", "has no FXSR,"),
            ("pentium3", "has no long mode,"),
        ] {
            let error = checked(&["--cpu", cpu]).unwrap_err();
            assert_eq!((error.status, error.message.contains(what)), (Status::Unfit, true), "{cpu}: {error}");
        }
    }

    #[test]
    fn only_three_answers_say_what_a_cpu_lacks() {
        assert_eq!(lacking("(qemu) \r\ntrue\r\n(qemu) \r\nfalse\r\n(qemu) \r\ntrue\r\n"), Some("NX"));
        for answers in ["true\ntrue\ntrue\n", "false\ntrue\n", "Error: no device\n", ""] {
            assert_eq!(lacking(answers), None, "{answers}");
        }
    }

    /// Seen failing: a QEMU that crashed had refused the machine, and a suite went on without it.
    #[test]
    fn a_crash_is_no_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("qemu");
        for end in ["kill -9 $$", "exit 3", "echo assertion failed >&2; kill -6 $$"] {
            write_script(&file, &format!("case $1 in --version) echo {NAME}7.2 ;; *) {end} ;; esac"));
            let error = checked(&["--emulator", file.to_str().unwrap()]).unwrap_err();
            assert_eq!((error.status, error.message.contains("ended as")), (Status::Failed, true), "{error}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_what_the_computer_lacks() {
        let error = checked(&["--emulator", "/nosuch/qemu"]).unwrap_err();
        assert_eq!((error.status, error.message.contains("/nosuch/qemu")), (Status::Unfit, true), "{error}");
    }

    #[test]
    fn a_program_that_is_no_qemu_is_usage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("qemu");
        write_script(&file, "echo something else");
        for file in [file.to_str().unwrap(), "/etc/passwd"] {
            let error = checked(&["--emulator", file]).unwrap_err();
            assert_eq!((error.status, error.message.contains(file)), (Status::Usage, true), "{error}");
        }
    }
}
