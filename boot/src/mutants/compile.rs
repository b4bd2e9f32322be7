//! Builds the copy's test program with all changes in it, without those that do not compile.
//!
//! The compiler says where its errors are. The changes of the smallest places around them are taken out, and it is asked
//! again: what it finds wrong in a later phase it only tells when the earlier ones have passed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use super::copy;
use super::find::Change;
use super::sources::Sources;
use super::switch::{self, Written};
use crate::cargo;
use crate::cfg::Tests;
use crate::child;
use crate::status::{Doing, Error, Result};

/// What a lint denies is no error here.
const NO_LINTS: &str = "--cap-lints=allow";

/// A test program, and which changes could not be in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The program.
    pub program: PathBuf,
    /// Numbers of changes that do not compile.
    pub refused: BTreeSet<u32>,
}

/// Builds the test program of a package's library in the copy with these changes.
///
/// # Errors
/// If there are errors that no change explains.
pub fn program(
    copy: &Path,
    package: &str,
    tests: Tests,
    sources: &Sources,
    changes: &[&Change],
) -> Result<Compiled> {
    let mut refused = BTreeSet::new();
    loop {
        let kept = changes.iter().copied().filter(|change| !refused.contains(&change.id)).collect();
        let written = write(copy, sources, kept)?;
        let messages = build(copy, package, tests)?;
        if let Some(program) = messages.lines().find_map(cargo::executable).filter(|made| made.is_test) {
            return Ok(Compiled { program: program.path, refused });
        }
        let before = refused.len();
        let errors: Vec<Diagnostic> = messages.lines().filter_map(error).collect();
        for error in &errors {
            refused.extend(culprits(error, &written, copy));
        }
        if refused.len() == before {
            let first = errors.iter().find_map(|error| error.rendered.clone()).unwrap_or_default();
            return Err(Error::failed(format!("{package} could not be built with its changes\n{first}")));
        }
        eprintln!("boot: {} changes do not compile; building without them", refused.len());
    }
}

/// Writes all source files with these changes.
fn write(copy: &Path, sources: &Sources, changes: Vec<&Change>) -> Result<BTreeMap<String, Written>> {
    let mut by_file: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        by_file.entry(&change.file).or_default().push(change);
    }
    let mut all = BTreeMap::new();
    for (number, source) in sources.files.iter().enumerate() {
        let changes = by_file.remove(source.file.as_str()).unwrap_or_default();
        let mut written = switch::write(&source.text, &changes);
        if number == 0 {
            written.text += &switch::module(sources.changes.len() as u32);
        }
        copy::write(&copy.join(&source.file), written.text.as_bytes())?;
        all.insert(source.file.clone(), written);
    }
    Ok(all)
}

/// Has cargo build the test program, and returns its messages.
fn build(copy: &Path, package: &str, tests: Tests) -> Result<String> {
    let mut command = cargo::plain(&["test", "--no-run", "--package", package, "--lib", "--all-features"]);
    command.args(["--target", "host-tuple", "--message-format=json"]).current_dir(copy);
    command.env("CARGO_TARGET_DIR", copy.join("target")).env("CARGO_PROFILE_DEV_DEBUG", "false");
    let mut flags = vec![NO_LINTS, switch::FEATURES];
    if tests == Tests::Models {
        flags.push("--cfg=loom");
    }
    // By the variable that outranks whatever flags the user has set up.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", flags.join(" "));
    child::ends_with_this_process(&mut command);
    let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().doing("start cargo")?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// What the compiler says of one thing.
#[derive(Debug, Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    spans: Vec<Span>,
    #[serde(default)]
    children: Vec<Diagnostic>,
}

#[derive(Debug, Deserialize)]
struct Span {
    file_name: PathBuf,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
    expansion: Option<Box<Expansion>>,
}

/// Where the macro was called that made the code.
#[derive(Debug, Deserialize)]
struct Expansion {
    span: Span,
}

#[derive(Deserialize)]
struct Message {
    message: Diagnostic,
}

/// The error that a line of cargo's messages tells of, if any.
fn error(line: &str) -> Option<Diagnostic> {
    let message: Message = serde_json::from_str(line).ok()?;
    Some(message.message).filter(|message| message.level == "error")
}

/// The changes that an error is about: those at its own place, else at the first place that it mentions.
fn culprits(error: &Diagnostic, written: &BTreeMap<String, Written>, copy: &Path) -> Vec<u32> {
    let own = error.spans.iter().filter(|span| span.is_primary);
    let mentioned = error.spans.iter().filter(|span| !span.is_primary);
    let explained = error.children.iter().flat_map(|child| &child.spans);
    let all = own.chain(mentioned).chain(explained);
    all.map(|span| changes_at(span, written, copy)).find(|found| !found.is_empty()).unwrap_or_default()
}

fn changes_at(span: &Span, written: &BTreeMap<String, Written>, copy: &Path) -> Vec<u32> {
    let name = span.file_name.strip_prefix(copy).unwrap_or(&span.file_name).display().to_string();
    let bytes: Range<usize> = span.byte_start..span.byte_end;
    let here = written.get(&name).map_or(&[][..], |file| file.changes_at(&bytes));
    match &span.expansion {
        Some(expansion) if here.is_empty() => changes_at(&expansion.span, written, copy),
        _ => here.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose bytes 10 to 50 have the changes 1 and 2: of the first are the bytes from 20 to 30.
    fn written() -> BTreeMap<String, Written> {
        let places = vec![(20..30, vec![1]), (10..50, vec![1, 2])];
        BTreeMap::from([("p/src/lib.rs".into(), Written { text: String::new(), places })])
    }

    fn span(file: &str, bytes: Range<usize>, is_primary: bool) -> String {
        format!(
            r#"{{"file_name":"{file}","byte_start":{},"byte_end":{},"is_primary":{is_primary}}}"#,
            bytes.start, bytes.end
        )
    }

    fn found(level: &str, spans: &[String]) -> Option<Vec<u32>> {
        let spans = spans.join(",");
        let line = format!(
            r#"{{"reason":"compiler-message","message":{{"level":"{level}","rendered":"x","spans":[{spans}]}}}}"#
        );
        error(&line).map(|error| culprits(&error, &written(), Path::new("/copy")))
    }

    #[test]
    fn an_error_is_of_the_smallest_place_around_it() {
        let lib = "p/src/lib.rs";
        assert_eq!(found("error", &[span(lib, 22..25, true)]), Some(vec![1]));
        assert_eq!(found("error", &[span(lib, 31..32, true)]), Some(vec![1, 2]));
        assert_eq!(found("error", &[span("/copy/p/src/lib.rs", 20..30, true)]), Some(vec![1]));
        assert_eq!(found("error", &[span(lib, 5..60, true)]), Some(Vec::new()));
        assert_eq!(found("error", &[span("p/src/x.rs", 22..25, true)]), Some(Vec::new()));
        assert_eq!(found("warning", &[span(lib, 22..25, true)]), None);
    }

    #[test]
    fn what_an_error_mentions_counts_where_its_own_place_has_no_change() {
        let lib = "p/src/lib.rs";
        assert_eq!(found("error", &[span(lib, 22..25, false), span(lib, 31..32, true)]), Some(vec![1, 2]));
        assert_eq!(found("error", &[span(lib, 22..25, false), span(lib, 70..71, true)]), Some(vec![1]));
    }

    #[test]
    fn an_error_in_what_a_macro_made_is_where_the_macro_was_called() {
        let call = format!(r#","expansion":{{"span":{}}}}}"#, span("p/src/lib.rs", 22..25, false));
        let made = span("/rust/macros.rs", 22..25, true).trim_end_matches('}').to_owned() + &call;
        assert_eq!(found("error", &[made]), Some(vec![1]));
    }
}
