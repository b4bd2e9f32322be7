//! Changes of a small crate: one is seen, one survives, one is excused, one has no test, one does not compile.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The crate's name: what is made of it lies in cargo's target folder by that.
const NAME: &str = "small-crate-of-the-test-of-mutants";

const LIB: &str = r#"#![no_std]
pub fn is_small(x: u8) -> bool {
    x < 3
}
pub fn sum(x: u8) -> u8 {
    x | 4
}
pub fn nobody(x: &str) -> &str {
    x
}
pub fn waits(x: u8) {
    let mut left = x;
    while left != 0 {
        left -= 1;
    }
}
const FIVE: u8 = double(2) + 1;
const fn double(x: u8) -> u8 {
    x * 2
}
pub struct Opaque;
pub fn opaque() -> Opaque {
    Opaque
}
#[cfg(test)]
mod tests {
    extern crate std;
    #[test]
    fn small() {
        assert!(crate::is_small(1) && !crate::is_small(9));
    }
    #[test]
    fn sums() {
        assert_eq!(crate::sum(1), crate::FIVE);
        assert_eq!(crate::double(3), 6);
        crate::waits(3);
    }
}
"#;

/// The workspace of the crate in `folder`.
fn make(folder: &Path) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"small\"]\n");
    write(
        "small/Cargo.toml",
        &format!("[package]\nname = \"{NAME}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n"),
    );
    // Verdicts of other runs of this test do not count.
    write("small/tests/run.rs", &format!("// {}: {:?}", std::process::id(), std::time::SystemTime::now()));
    write("small/src/lib.rs", LIB);
    write(".cargo/mutants.toml", "exclude_re = ['replace \\| with \\^ in sum$']\n");
    assert!(Command::new("git").args(["init", "--quiet"]).current_dir(folder).status().unwrap().success());
}

fn mutants(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boot"));
    // By this variable cargo says where the program's package is, and so the workspace.
    command.args(["mutants", NAME]).args(arguments).env("CARGO_MANIFEST_DIR", folder.join("boot"));
    command.current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

/// Seen failing with switches that are never on.
#[test]
fn a_run_tells_what_no_test_sees_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let survivor = "survived: small/src/lib.rs:3:7: replace < with <= in is_small";
    let part = mutants(folder.path(), &["--only", "is_small"]);
    assert_eq!(
        lines(&part),
        [survivor, "5 changes: 5 compile, 4 seen (0 by a time-out), 1 survived, 0 without a test, 0 excused"]
    );
    let whole = [
        survivor,
        "no test comes to it: small/src/lib.rs:9:5: replace nobody -> &str with Default::default()",
        "survived: small/src/lib.rs:12:5: replace waits with ()",
        "survived: small/src/lib.rs:13:16: replace != with == in waits",
        "19 changes: 17 compile, 13 seen (1 by a time-out), 3 survived, 1 without a test, 1 excused",
    ];
    let judged_before = |run: &Output, number: usize| {
        let told =
            String::from_utf8_lossy(&run.stderr).contains(&format!("{number} changes were judged before"));
        assert!(told, "{run:?}");
    };
    let rest = mutants(folder.path(), &[]);
    assert_eq!(lines(&rest), whole);
    judged_before(&rest, 5);
    fs::write(folder.path().join("small/tests/run.rs"), "// Another one.").unwrap();
    let again = mutants(folder.path(), &["--unseen"]);
    assert_eq!(lines(&again), whole);
    judged_before(&again, 14);
    fs::write(folder.path().join("small/src/lib.rs"), LIB.replace("x < 3", "x != 9")).unwrap();
    // Seen failing with verdicts kept by place and text alone: another change was there.
    let other = mutants(folder.path(), &["--only", "is_small", "--unseen"]);
    let closing = "3 changes: 3 compile, 3 seen (0 by a time-out), 0 survived, 0 without a test, 0 excused";
    assert_eq!(lines(&other), [closing]);
    assert!(!String::from_utf8_lossy(&other.stderr).contains("judged before"), "{other:?}");
}

#[test]
fn a_list_has_all_changes_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let listed = lines(&mutants(folder.path(), &["--list", "--file", "src/lib"]));
    assert_eq!(listed.len(), 19, "{listed:?}");
    assert_eq!(listed[0], "small/src/lib.rs:3:5: replace is_small -> bool with true");
}
