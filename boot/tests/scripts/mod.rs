//! Programs that stand for others, for the tests of this package.

use std::path::Path;
use std::process::Command;

/// Writes a program that runs `script`. Another process does: a program that this one has open for writing, or a
/// child that another test is about to make, cannot be run.
pub(crate) fn write_script(path: &Path, script: &str) {
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
    let status = Command::new("/bin/sh").args(["-c", write, "sh"]).arg(path).arg(script).status().unwrap();
    assert!(status.success());
}

/// The command, whose program ignores no signal that would end it, though this one may have been started so, as by `nohup`.
#[allow(dead_code, reason = "not all programs of tests send signals")]
pub(crate) fn with_signals(command: &Command) -> Command {
    let mut with = Command::new("env");
    with.arg("--default-signal=HUP,INT,QUIT,TERM,TSTP").arg(command.get_program()).args(command.get_args());
    with
}
