//! Addresses of the kernel's code become functions, files and lines: where CPUs were when it panicked, or when its time was
//! up, and in a profile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs commands on two CPUs. Returns the status, standard output and standard error.
fn exec(commands: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(root().join("run.sh"));
    command.args(["exec", commands, "--cpus", "2"]).current_dir(root()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Seen failing with callers told by address alone, and with other CPUs left out.
#[test]
fn a_panic_says_where_every_cpu_was() {
    let (status, _, said) = exec("panic");
    assert_eq!(status, Some(3), "{said}");
    let places = said.split_once("\nthe CPUs were at\n").unwrap_or_else(|| panic!("{said}")).1;
    let (first, second) = places.split_once("\n  CPU 1  ").unwrap_or_else(|| panic!("{said}"));
    assert!(first.starts_with("  CPU 0  "), "{said}");
    assert!(first.contains("panic kernel/src/console/power.rs:"), "{said}");
    assert!(first.contains(" kernel/src/console/commands.rs:"), "{said}");
    assert!(second.contains(" kernel/src/threads/idle.rs:"), "{said}");
    let log = said.rsplit_once(" is in ").unwrap_or_else(|| panic!("{said}")).1.trim();
    let kept = fs::read_to_string(root().join(log)).unwrap();
    assert!(kept.contains("panic kernel/src/console/power.rs:"), "{kept}");
    fs::remove_file(root().join(log)).unwrap();
}

/// Seen failing with a backtrace that begins in the panic's own code.
#[test]
fn the_backtrace_of_a_fault_begins_where_it_was() {
    let (status, _, said) = exec("panic fault");
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("\npage fault: read of 0x10: nothing is mapped there"), "{said}");
    let places = said.split_once("\nthe CPUs were at\n").unwrap_or_else(|| panic!("{said}")).1;
    let (first, _) = places.split_once("\n  CPU 1  ").unwrap_or_else(|| panic!("{said}"));
    let mut lines = first.lines();
    let place = lines.next().unwrap();
    assert!(place.starts_with("  CPU 0  ") && place.contains(" kernel/src/console/power.rs:"), "{said}");
    // Not always the next line: a timer's interrupt may have left on the stack where it came.
    let caller = "    by   run kernel/src/console/commands.rs:";
    assert!(lines.any(|line| line.starts_with(caller)), "{said}");
    let log = said.rsplit_once(" is in ").unwrap_or_else(|| panic!("{said}")).1.trim();
    fs::remove_file(root().join(log)).unwrap();
}

/// Which functions of a case have samples is chance; a loop that calls nothing has nearly all.
///
/// Seen failing with samples told by address alone.
#[test]
fn a_profile_names_the_functions_of_a_command() {
    let case = "test_vmalloc run_test_mask=4 test_loop_count=100000 nr_threads=1";
    for (command, mark) in [
        ("floor loops=1000000", "kernel::test_vmalloc::floor::command kernel/src/test_vmalloc/floor.rs:"),
        (case, "vmalloc"),
    ] {
        let (status, table, said) = exec(&format!("perf {command}"));
        assert_eq!(status, Some(0), "{said}");
        let (_, table) =
            table.split_once(" samples, 997 a second of each CPU\n").unwrap_or_else(|| panic!("{table}"));
        let mut lines = table.lines().skip(1);
        let shares = lines.clone().filter_map(|line| line.split_once(" %  "));
        let those = shares.filter(|(_, name)| name.contains(mark));
        let share: f64 = those.map(|(share, _)| share.trim().parse::<f64>().unwrap()).sum();
        assert!(share > 50.0, "{table}");
        assert!(lines.next().is_some_and(|line| line.contains(".rs:")), "{table}");
    }
}

/// Seen failing without the monitor.
#[test]
fn a_command_that_does_not_end_is_found_by_file_and_line() {
    let mut command = Command::new(root().join("run.sh"));
    // A case that wakes nobody: no other thread is on its CPU when the time is up.
    let loops = "test_vmalloc run_test_mask=1 test_loop_count=99999999999 nr_threads=1";
    command.args(["exec", loops, "--timeout", "10"]).current_dir(root()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(124), "{said}");
    let places = said.split_once("time is up; the CPUs are at\n").unwrap_or_else(|| panic!("{said}")).1;
    assert!(places.starts_with("  CPU 0  ") && places.contains("\n  CPU 1  "), "{said}");
    assert!(places.contains(" kernel/src/test_vmalloc/cases.rs:"), "{said}");
    let log = said.rsplit_once(" is in ").unwrap_or_else(|| panic!("{said}")).1.trim();
    let kept = fs::read_to_string(root().join(log)).unwrap();
    assert!(kept.contains("  CPU 1  "), "{log}: {kept}");
    fs::remove_file(root().join(log)).unwrap();
}
