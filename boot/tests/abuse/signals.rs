//! Signals at each stage of a run.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::awaited::awaited;
use crate::scripts::{with_signals, write_script};
use crate::{CONSOLE, Place};

/// Seen failing: the handler of signals took the place of what `nohup` had set, and the run ended.
#[test]
fn a_signal_that_is_ignored_from_the_start_ends_nothing() {
    let place = Place::new(&format!("echo begun > \"$0.mark\"; {CONSOLE}"));
    let boot = place.console();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(boot.get_program()).args(boot.get_args());
    let mut program =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    awaited("the machine", || place.path("qemu.mark").exists().then_some(()));
    kill_process(Pid::from_child(&program), Signal::HUP).unwrap();
    program.stdin.take().unwrap().write_all(b"poweroff\n").unwrap();
    let status = program.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}

/// Starts the host program, and waits until QEMU is asked for something that has `stage` among its words; then QEMU
/// hangs.
fn start(place: &Place, stage: &str) -> (Child, Pid) {
    let mark = place.path("mark");
    let script = format!(
        "case \"$*\" in *'{stage}'*) echo $$ > '{mark}.new'; mv '{mark}.new' '{mark}'; exec sleep 600 ;; esac\n\
        case $1 in --version) echo QEMU emulator version 7.2 ;; esac",
        mark = mark.display()
    );
    write_script(&place.path("qemu"), &script);
    let mut command = with_signals(&place.console());
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let program = command.spawn().unwrap();
    let qemu = awaited("QEMU", || pid_in(&mark));
    (program, qemu)
}

/// The process whose number a file has.
fn pid_in(file: &Path) -> Option<Pid> {
    fs::read_to_string(file).ok()?.trim().parse().ok().and_then(Pid::from_raw)
}

/// Waits for a program that got a signal, which it must have ended by.
fn assert_ended_by(signal: Signal, mut program: Child, when: &str) {
    let (status, number) = (program.wait().unwrap(), signal.as_raw());
    let is_right = status.signal() == Some(number) || status.code() == Some(128 + number);
    assert!(is_right, "{when}, {signal:?}: {status}");
}

/// Seen failing: the machine leads a process group of its own, and went on.
#[test]
fn a_run_that_is_stopped_stops_its_machine_until_it_goes_on() {
    let place = Place::new(CONSOLE);
    let (mut program, qemu) = start(&place, "virtio-blk");
    let is_stopped = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", qemu.as_raw_pid())).unwrap();
        stat.contains(") T ")
    };
    assert!(!is_stopped());
    kill_process(Pid::from_child(&program), Signal::TSTP).unwrap();
    awaited("a stop", || is_stopped().then_some(()));
    kill_process(Pid::from_child(&program), Signal::CONT).unwrap();
    awaited("its going on", || (!is_stopped()).then_some(()));
    kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
    program.wait().unwrap();
}

/// Seen failing, for SIGKILL, without the parent's death signal.
#[test]
fn no_qemu_outlives_a_signal_at_any_stage_of_a_run() {
    for stage in ["--version", "-S -chardev", "virtio-blk"] {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::KILL] {
            let place = Place::new(CONSOLE);
            let (program, qemu) = start(&place, stage);
            kill_process(Pid::from_child(&program), signal).unwrap();
            assert_ended_by(signal, program, stage);
            awaited("QEMU's end", || test_kill_process(qemu).is_err().then_some(()));
        }
    }
}

/// Cargo, as the host program starts it, hangs. Seen failing, for SIGKILL, without the parent's death signal.
#[test]
fn no_cargo_outlives_a_signal_while_it_builds() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::KILL] {
        let place = Place::new(CONSOLE);
        let (cargo, mark) = (place.path("cargo"), place.path("mark"));
        write_script(
            &cargo,
            "echo $$ > \"$0.new\"; mv \"$0.new\" \"$(dirname \"$0\")/mark\"; exec sleep 600",
        );
        let mut boot = Command::new(env!("CARGO_BIN_EXE_boot"));
        boot.args(["exec", "help", "--accel", "tcg", "--emulator"]).arg(place.path("qemu"));
        let mut command = with_signals(&boot);
        command.env("CARGO", &cargo).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = command.spawn().unwrap();
        let cargo = awaited("cargo", || pid_in(&mark));
        kill_process(Pid::from_child(&program), signal).unwrap();
        assert_ended_by(signal, program, "while it builds");
        awaited("cargo's end", || test_kill_process(cargo).is_err().then_some(()));
    }
}
