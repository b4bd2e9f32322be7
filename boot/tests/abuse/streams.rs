//! Streams that are closed, full, or at their end.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use crate::{CONSOLE, Place, RECORD, assert_one_line, said};

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn tests() -> Place {
    Place::new(&format!(
        r"printf '{RECORD}tests 1\n{RECORD}test a\n{RECORD}passed\n{RECORD}tests-done 1\n'; exit 33"
    ))
}

/// Seen failing with the standard library's panic, which has a status of its own.
#[test]
fn output_that_cannot_be_written_ends_tests_with_one_line() {
    let place = tests();
    let output = place.tests().stdout(closed()).stderr(Stdio::piped()).output().unwrap();
    assert_one_line(&output, 1, "stdout: Broken pipe");
    let output = place.tests().stdout(full()).stderr(Stdio::piped()).output().unwrap();
    assert_one_line(&output, 1, "stdout: No space left");
    // There is nobody to tell.
    let output = place.tests().stdout(closed()).stderr(closed()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// Seen failing with a full disk taken for a reader who has seen enough.
#[test]
fn a_console_ends_when_nobody_sees_it() {
    let place = Place::new("while :; do echo text; done");
    let output = place.console().stdout(closed()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = place.console().stdout(full()).stderr(Stdio::piped()).output().unwrap();
    let (status, said) = said(&output);
    assert!(status == Some(1) && said.contains("cannot write to standard output: No space left"), "{said}");
}

/// Seen hanging without it.
#[test]
fn the_end_of_the_input_switches_the_machine_off() {
    let place = Place::new(CONSOLE);
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"one\ntwo").unwrap();
    drop(writer);
    let output = place.console().stdin(reader).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), shown.as_str()), (Some(0), "> one\ntwo\npoweroff\n"));
}
