//! Odd values of options: one line each that names the option, or the value.

use std::process::Command;

use crate::assert_one_line;

/// Seen failing for the port 0, which is none, and for the limit of 1e19 seconds, which ended in a panic. `--nocapture` as
/// a filter had all tests of the host run, and none of the kernel's; no command at all was a soak that was well, and so were
/// machines that no emulator made.
///
/// What is left to QEMU, or to the kernel, is not here.
#[test]
fn odd_values_are_named_in_one_line() {
    for (words, named) in [
        (&["exce", "help"][..], "exec"),
        (&["boot", "--cpu", "max", "--cpus"], "--cpus"),
        (&["boot", "--mem", "1G"], "--memory"),
        (&["boot", "--memroy", "1G"], "--memory"),
        (&["boot", "--memory"], "--memory"),
        (&["boot", "--memory", ""], "--memory"),
        (&["boot", "--memory", "-1G"], "-1"),
        (&["boot", "--memory", "1K"], "1K"),
        (&["boot", "--memory", "1024"], "suffix M or G"),
        (&["boot", "--memory", "1GB"], "1GB"),
        (&["boot", "--memory", "99999999999999999999G"], "--memory"),
        (&["boot", "--memory", "1G", "--memory", "2G"], "--memory"),
        (&["boot", "--cpus", ""], "--cpus"),
        (&["boot", "--cpus", "-1"], "--cpus"),
        (&["boot", "--cpus", "1e9"], "1e9"),
        (&["boot", "--cpus", "999999999999"], "999999999999"),
        (&["boot", "--cpus=2,4"], "2,4"),
        (&["boot", "--accel", "TCG"], "tcg"),
        (&["boot", "--accel", ""], "--accel"),
        (&["boot", "--icount=-1"], "-1"),
        (&["boot", "--gdb=0"], "--gdb"),
        (&["boot", "--gdb=65536"], "65536"),
        (&["boot", "--timeout", "nan"], "--timeout"),
        (&["boot", "--timeout", "1e400"], "--timeout"),
        (&["boot", "--timeout", "-1"], "--timeout"),
        (&["boot", "--timeout", "1e19"], "1e19"),
        (&["boot", "--timeout", "1m"], "1m"),
        (&["soak", "--minutes", "-1"], "-1"),
        (&["soak", "--minutes", "1h"], "1h"),
        (&["soak", "--cpus", "0"], "0"),
        (&["soak", "--memory", "1"], "1"),
        (&["soak", "--run", "x"], "x"),
        (&["mutants"], "PACKAGE"),
        (&["mutants", "vmaloc"], "vmaloc"),
        (&["mutants", "kernel"], "kernel"),
        (&["mutants", "histogram", "--shard", "2/2"], "2/2"),
        (&["mutants", "histogram", "--only", "nosuch"], "nosuch"),
        (&["mutants", "histogram", "--file", "src/nosuch"], "src/nosuch"),
        (&["replay"], "TRACE"),
        (&["trace"], "TRACE"),
        (&["trace", "t", "--out"], "--out"),
        (&["rooms", "vmaloc"], "vmalloc"),
        (&["test", "a", "b"], "b"),
        (&["test", "--nocapture"], "--nocapture"),
        (&["test", "--", "--nocapture"], "--nocapture"),
        (&["machines", "--", "-q"], "-q"),
        (&["soak", "--commands", " ; "], "--commands"),
        (&["soak", "--cpu", "nosuch", "--minutes", "1"], "nosuch"),
        (&["machines", "--emulator", "false"], "false"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_boot")).args(words).output().unwrap();
        assert_one_line(&output, 2, named);
    }
}

/// Seen failing with the help taken for a complaint.
#[test]
fn help_and_version_are_answers_and_no_complaints() {
    for (words, named) in [
        (&["--help"][..], "Usage: ./run.sh <COMMAND>"),
        (&["soak", "--help"], "--minutes"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_boot")).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{words:?}");
        assert!(said.contains(named), "{words:?}: {said}");
    }
}
