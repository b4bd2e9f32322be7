//! A soak of one run, and one whose commands leave something behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn soak(arguments: &[&str]) -> (Option<i32>, String) {
    let root = root();
    let mut command = Command::new(root.join("run.sh"));
    command
        .arg("soak")
        .args(["--seed", "1", "--run", "0", "--cpus", "2", "--memory", "256M"])
        .args(arguments);
    let output = command.current_dir(root).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_run_that_leaves_something_behind_fails_and_says_how_to_repeat_it() {
    let commands = "balance mark; cpus & meminfo; vmalloc 8192; balance";
    let (status, said) = soak(&["--commands", commands]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("FAILED: balance: something was left behind: frames of areas: "), "{said}");
    assert!(said.contains("; areas: "), "{said}");
    let again = "./run.sh soak --seed 1 --run 0 --cpus 2 --memory 256M --commands 'balance mark; cpus";
    assert!(said.contains(again), "{said}");
    assert!(said.contains("1 runs, 1 failed ("), "{said}");
    let log = said.split_once("all that the machine said is in ").unwrap_or_else(|| panic!("{said}")).1;
    let log = root().join(log.lines().next().unwrap());
    let kept = fs::read_to_string(&log).unwrap();
    assert!(kept.starts_with(&format!("[{again}")), "{kept}");
    fs::remove_file(log).unwrap();
}

#[test]
fn a_panic_ends_a_run_with_its_own_status() {
    let (status, said) = soak(&["--commands", "balance mark; cpus & panic; balance"]);
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("FAILED: the kernel panicked"), "{said}");
}

#[test]
fn a_run_that_leaves_nothing_behind_is_well() {
    let commands = "balance mark; hold 40 & test_vmalloc mode=stress test_loop_count=5 test_repeat_count=1 run_test_mask=1; \
         hold 0; balance";
    let (status, said) = soak(&["--commands", commands]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(": ok (") && said.contains("1 runs, 0 failed ("), "{said}");
    assert_eq!(said.matches(" s of CPU time)").count(), 2, "of the run and of all: {said}");
}
