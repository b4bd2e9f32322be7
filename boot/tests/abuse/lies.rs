//! Machines that lie: the whole host program sees through each, from QEMU's first byte to the exit status.

use std::fs;
use std::path::Path;

use crate::kernels::files;
use crate::{Place, RECORD};

/// What the machine does, and the exit status that the host program makes of it.
fn judged(script: &str, more: &[&str]) -> (Option<i32>, String) {
    let place = Place::new(&script.replace('!', RECORD));
    let output = place.tests().args(more).output().unwrap();
    let (status, said) = crate::said(&output);
    (status, said + &String::from_utf8_lossy(&output.stdout))
}

/// Seen failing with one of the names misspelt.
#[test]
fn the_table_names_tests_that_are_there() {
    let boot = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(boot.with_file_name("TESTING.md")).unwrap();
    let table = page.split("## ").find(|part| part.starts_with("Nothing is green by mistake")).unwrap();
    let names: Vec<_> =
        table.split('`').skip(1).step_by(2).filter(|word| !word.contains(['/', ' '])).collect();
    let source: String = [boot.join("src"), boot.join("tests")]
        .iter()
        .flat_map(|folder| files(folder))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let missing: Vec<_> =
        names.iter().filter(|name| name.contains('_') && !source.contains(&format!("fn {name}()"))).collect();
    assert!(names.len() > 30 && missing.is_empty(), "{missing:?}");
}

const GOOD: &str = r"!tests 2\n!test a\n!passed\n!test b\n!passed\n!tests-done 2\n";

#[test]
fn a_machine_that_tells_the_truth_is_well() {
    let (status, said) = judged(&format!("printf '{GOOD}'; exit 33"), &[]);
    assert!(status == Some(0) && said.contains("2 passed, 0 failed"), "{said}");
}

/// The judge's own tests have more of them; each was seen failing there with the judge's look taken out.
#[test]
fn no_lie_of_a_machine_is_green() {
    let whole = |end: &str| format!("printf '{GOOD}'; {end}");
    let said = |text: &str| format!("printf '{text}'; exit 33");
    for (what, script, status) in [
        ("a hang", "exec sleep 600".into(), 124),
        ("a hang after a test", r"printf '!tests 1\n!test a\n'; exec sleep 600".into(), 124),
        ("a machine that talks for ever", "while :; do echo text; sleep 0.01; done".into(), 124),
        ("a silent reset", "echo firmware; exit 0".into(), 3),
        ("a reset after the last record", whole("exit 0"), 3),
        ("an early success", said("firmware\\n"), 1),
        ("an early success in a test", said(r"!tests 1\n!test a\n"), 1),
        ("a forged closing record", said(r"!tests 2\n!tests-done 2\n"), 1),
        ("a doubled closing record", said(&format!(r"{GOOD}!tests-done 2\n")), 1),
        ("a closing record that is cut off", said(GOOD.trim_end_matches(r"\n")), 1),
        ("no closing record", said(GOOD.trim_end_matches(r"!tests-done 2\n")), 1),
        ("a test that ran in the place of another", said(&GOOD.replace("test b", "test a")), 1),
        ("a count that does not add up", said(&GOOD.replace("done 2", "done 3")), 1),
        ("no tests without a filter", said(r"!tests 0\n!tests-done 0\n"), 1),
        ("a panic after the closing record", whole(r"printf '!panic\n'; exit 33"), 3),
        ("another exit status", whole("exit 35"), 1),
        ("a status that no kernel has", whole("exit 1"), 1),
        ("QEMU killed", whole("kill -9 $$"), 1),
        ("QEMU that cannot start", "exit 1".into(), 4),
        ("output that is no text", r"printf '\377\376\036\000\n'; exit 33".into(), 1),
    ] {
        let (judged, said) = judged(&script, &["--timeout", "2"]);
        assert_eq!(judged, Some(status), "{what}: {said}");
        assert!(said.contains("boot: ") && !said.contains(" 0 failed"), "{what}: {said}");
    }
}
