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
