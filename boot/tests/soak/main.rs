//! A soak of one run, one whose commands leave something behind, and one that is interrupted.

#[path = "../scripts/mod.rs"]
#[allow(dead_code, reason = "no program stands for another here")]
mod scripts;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use scripts::with_signals;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What is said before the name of a log.
const KEPT: &str = "all that the machine said is in ";

/// The log that a text begins with.
fn named(text: &str) -> PathBuf {
    root().join(text.lines().next().unwrap())
}

fn remove(log: &str) {
    fs::remove_file(named(log)).unwrap();
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
    let log = said.split_once(KEPT).unwrap_or_else(|| panic!("{said}")).1;
    let kept = fs::read_to_string(named(log)).unwrap();
    assert!(kept.starts_with(&format!("[{again}")), "{kept}");
    remove(log);
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

/// Seen failing when the signal alone was told of.
#[test]
fn a_soak_that_is_interrupted_says_what_it_came_to() {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_boot"));
    soak.args(["soak", "--seed", "1", "--cpus", "1", "--memory", "256M", "--commands", "cpus"]);
    let mut soak = with_signals(&soak);
    soak.current_dir(root()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut soak = soak.spawn().unwrap();
    let mut lines = BufReader::new(soak.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut errors = soak.stderr.take().unwrap();
    let said = thread::spawn(move || {
        let mut said = String::new();
        errors.read_to_string(&mut said).map(|_| said)
    });
    lines.find(|line| line.starts_with("run 0: ")).unwrap();
    kill_process(Pid::from_child(&soak), Signal::INT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(rest.last().is_some_and(|line| line.contains(" runs, 0 failed (")), "{rest:?}");
    let status = soak.wait().unwrap();
    assert!(status.code() == Some(130) || status.signal() == Some(2), "{status}");
    // That of the run that was cut off, if it had begun.
    let said = said.join().unwrap().unwrap();
    said.split_once(KEPT).into_iter().for_each(|(_, log)| remove(log));
}
