//! Two runs at once in one checkout.

use std::fs;
use std::process::Stdio;
use std::thread;

use crate::{Place, assert_one_line};

/// Prints what is in the kernel's place on the disk, twice, and waits between for the kernel to be built anew.
const READ_TWICE: &str = r#"disk=$(printf '%s' "$*" | sed 's/.*readonly=on,file=\([^ ]*image\).*/\1/')
grep -ao 'any kernel[a-z ]*' "$disk"
printf 'seen\n' >&2
while [ ! -e "$(dirname "$0")/go" ]; do sleep 0.05; done
grep -ao 'any kernel[a-z ]*' "$disk"
printf '\036console\n'
exit 33"#;

/// Seen failing with an image that the second run removed.
#[test]
fn a_kernel_that_is_built_anew_disturbs_no_run_of_the_old_one() {
    let place = Place::new(READ_TWICE);
    let first = place.console().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| first.wait_with_output().unwrap());
        while fs::read_dir(place.0.path()).unwrap().count() < 2 {}
        // The first has its image when its machine runs; the second is the proof that it does.
        thread::sleep(std::time::Duration::from_secs(2));
        fs::write(place.path("kernel"), "any kernel built anew").unwrap();
        let second = place.console().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(std::time::Duration::from_secs(2));
        fs::write(place.path("go"), "").unwrap();
        let text = |output: std::process::Output| String::from_utf8(output.stdout).unwrap();
        assert_eq!(text(first.join().unwrap()), "any kernel\nany kernel\n");
        assert_eq!(
            text(second.wait_with_output().unwrap()),
            "any kernel built anew\nany kernel built anew\n"
        );
    });
}

/// Each has its own folder, log and events.
#[test]
fn many_runs_of_one_kernel_do_not_disturb_each_other() {
    let place = Place::new(r"printf '\036console\n'; sleep 0.2; exit 33");
    let broken = Place::new("exit 34");
    thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| place.console().output().unwrap())).collect();
        let output = broken.console().output().unwrap();
        assert_eq!(crate::said(&output).0, Some(4));
        for run in runs {
            let output = run.join().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    });
    let gone = place.path("gone");
    let output = place.boot(env!("CARGO_BIN_EXE_boot").as_ref(), &gone).output().unwrap();
    assert_one_line(&output, 1, "gone");
}
