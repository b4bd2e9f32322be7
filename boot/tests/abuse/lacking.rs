//! Machines on which the kernel cannot run: one line says what they lack.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::said;

/// Runs a command of the real kernel on a machine of these options.
fn exec(words: &[&str]) -> (Option<i32>, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(root.join("run.sh"));
    command.args(["exec", "help", "--accel", "tcg", "--timeout", "120"]).args(words);
    said(&command.current_dir(root).stdin(Stdio::null()).output().unwrap())
}

#[test]
fn what_a_machine_lacks_is_said_in_one_line() {
    for (words, lacking) in [
        (["--cpu", "max,-pat"], "the CPU has no page attribute table"),
        (["--cpu", "max,-pge"], "the CPU has no GLOBAL pages"),
        (["--cpu", "max,apic=off"], "the CPU has no local APIC"),
        (["--cpu", "max,-nx"], "the CPU has no NX"),
        (["--cpu", "max,-fxsr"], "the CPU has no FXSR"),
        (["--cpu", "pentium3"], "the CPU has no long mode"),
        (["--machine", "q35,acpi=off,pit=off,hpet=off"], "no clock"),
    ] {
        let (status, said) = exec(&words);
        let lines: Vec<_> = said.lines().filter(|line| line.contains("unfit")).collect();
        assert_eq!((status, lines.len()), (Some(4), 1), "{words:?}: {said}");
        assert!(lines[0].contains(lacking), "{words:?}: {said}");
    }
}
