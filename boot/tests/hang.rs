//! A machine whose time is up says where its CPUs are.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Seen failing without the monitor.
#[test]
fn a_command_that_does_not_end_is_found_by_file_and_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(root.join("run.sh"));
    let loops = "test_vmalloc run_test_mask=8 test_loop_count=99999999999 nr_threads=1";
    command.args(["exec", loops, "--timeout", "10"]).current_dir(root).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(124), "{said}");
    let places = said.split_once("time is up; the CPUs are at\n").unwrap_or_else(|| panic!("{said}")).1;
    assert!(places.starts_with("  CPU 0  ") && places.contains("\n  CPU 1  "), "{said}");
    assert!(places.contains(" kernel/src/test_vmalloc/cases.rs:"), "{said}");
    let log = said.rsplit_once(" is in ").unwrap_or_else(|| panic!("{said}")).1.trim();
    let kept = fs::read_to_string(root.join(log)).unwrap();
    assert!(kept.contains("  CPU 1  "), "{log}: {kept}");
    fs::remove_file(root.join(log)).unwrap();
}
