//! `./run.sh mutants`: changes of a package's code that its unit tests do not see.
//!
//! All changes are compiled into one test program, each behind a switch, so that a change costs no compilation but the
//! run of those tests that come to it.
//!
//! | module | for |
//! |---|---|
//! | `kinds` | what takes the place of operators and bodies |
//! | `find` | the changes of a file |
//! | `sources` | the files of a library, and all changes |
//! | `copy` | the copy of the workspace that is changed |
//! | `switch` | writes a file with its changes, each behind a switch |
//! | `compile` | builds the test program, without the changes that do not compile |
//! | `program` | runs tests of it |
//! | `cover` | which tests come to which change |
//! | `judge` | what became of a change, and how many of each kind there are |
//! | `kept` | the verdicts, so that a run goes on where it was cut off |
//! | `excused` | changes that need not be seen |

mod compile;
mod copy;
mod cover;
mod excused;
mod find;
mod judge;
mod kept;
mod kinds;
mod program;
mod sources;
mod switch;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use self::cover::Coverage;
use self::excused::Excused;
use self::find::Change;
use self::judge::{Counts, Verdict};
use self::kept::{Kept, Others};
use self::program::Program;
use self::sources::Sources;
use crate::cfg::Tests;
use crate::status::{Doing, Error, Result, Status};
use crate::{cargo, places};

/// What the user says of changes.
#[derive(Args, Debug)]
// Other groups are of that name already.
#[group(id = "mutants")]
pub struct Options {
    /// The package whose library is changed
    #[arg(value_name = "PACKAGE")]
    pub package: String,
    /// Only changes with this in their line
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Only changes of files whose path begins so, from the workspace's folder on or the package's
    #[arg(long, value_name = "PATH-PREFIX")]
    pub file: Option<String>,
    /// Only one of N parts of the changes; the first is 0/N
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Believe what was seen in files that are as they were, though others changed: judge what no test saw then, and what is new
    #[arg(long)]
    pub unseen: bool,
    /// Run the package's models, which loom explores, in the place of its unit tests
    #[arg(long)]
    pub models: bool,
    /// Only list the changes
    #[arg(long)]
    pub list: bool,
}

/// A part of the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (number, of) = text.split_once('/').ok_or("two numbers with a / between them are wanted")?;
        let read =
            |word: &str| word.parse::<usize>().map_err(|_| "two numbers with a / between them are wanted");
        let shard = Self { number: read(number)?, of: read(of)? };
        if shard.number < shard.of {
            Ok(shard)
        } else {
            Err("the first number is 0 to that after the / less 1")
        }
    }
}

/// Judges the changes that the user wants, and tells of those that no test sees.
///
/// # Errors
/// If there is no such package or change, or the package cannot be built.
pub fn run(options: &Options) -> Result<Status> {
    let root = places::root();
    let folders = cargo::tested_library(&options.package)?;
    let package = folders[0].clone();
    if options.models && !cargo::has_models(&options.package) {
        return Err(Error::usage(format!("--models: {} has none", options.package)));
    }
    let (name, tests) = match options.models {
        true => (format!("{}-models", options.package), Tests::Models),
        false => (options.package.clone(), Tests::Units),
    };
    let sources = Sources::read(root, &package, tests)?;
    let chosen = choose(options, &sources.changes, package.strip_prefix(root).unwrap_or(&package))?;
    if options.list {
        chosen.iter().for_each(|change| println!("{}", change.text));
        return Ok(Status::Ok);
    }
    let excused = Excused::read(root)?;
    let tracked = copy::tracked(root)?;
    let folder = places::target_folder("mutants")?;
    let place = Place { copy: folder.join(&name), root, package, tests };
    let file = folder.join(format!("{name}.txt"));
    let others = if options.unseen { Others::Believed } else { Others::Forgotten };
    let kept = Kept::open(&file, sources::hash(root, &folders, &tracked)?, others)?;
    let mut told = Told { kept, counts: Counts::default() };
    let (excused, chosen): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|change| excused.has(&change.text));
    told.counts.excuse(excused.len());
    let (mut left, mut before) = (Vec::new(), 0);
    for change in chosen {
        match told.kept.verdict(&change.key()) {
            Some(verdict) => {
                told.tell(change, verdict);
                before += 1;
            }
            None => left.push(change),
        }
    }
    if before > 0 {
        eprintln!("boot: {before} changes were judged before; {} says so", file.display());
    }
    if !left.is_empty() {
        place.judge(&options.package, &sources, &tracked, &left, &mut told)?;
    }
    println!("{}", told.counts);
    Ok(Status::Ok)
}

/// The changes that the user wants.
fn choose<'a>(options: &Options, changes: &'a [Change], package: &Path) -> Result<Vec<&'a Change>> {
    let mut chosen: Vec<&Change> = changes.iter().collect();
    if let Some(prefix) = &options.file {
        let within = package.join(prefix).display().to_string();
        chosen.retain(|change| change.file.starts_with(prefix) || change.file.starts_with(&within));
        if chosen.is_empty() {
            return Err(Error::usage(format!("--file {prefix}: there is no change in such a file")));
        }
    }
    if let Some(text) = &options.only {
        chosen.retain(|change| change.text.contains(text));
        if chosen.is_empty() {
            return Err(Error::usage(format!("--only {text}: there is no such change")));
        }
    }
    if let Some(Shard { number, of }) = options.shard {
        chosen = chosen.into_iter().skip(number).step_by(of).collect();
    }
    Ok(chosen)
}

/// What is known of changes, and said of them.
struct Told {
    kept: Kept,
    counts: Counts,
}

impl Told {
    /// Counts a change, and tells the user if no test sees it.
    fn tell(&mut self, change: &Change, verdict: Verdict) {
        self.counts.count(verdict);
        if !verdict.needs_no_test() {
            println!("{}: {}", verdict.word(), change.text);
        }
    }

    fn keep(&mut self, change: &Change, verdict: Verdict) -> Result<()> {
        self.kept.keep(&change.key(), verdict)?;
        self.tell(change, verdict);
        Ok(())
    }
}

/// Where the work is done.
struct Place<'a> {
    root: &'a Path,
    package: PathBuf,
    copy: PathBuf,
    tests: Tests,
}

impl Place<'_> {
    /// Judges changes.
    fn judge(
        &self,
        name: &str,
        sources: &Sources,
        tracked: &[String],
        changes: &[&Change],
        told: &mut Told,
    ) -> Result<()> {
        let written: BTreeSet<&str> = sources.files.iter().map(|source| source.file.as_str()).collect();
        std::fs::create_dir_all(&self.copy).doing(format_args!("make the folder {}", self.copy.display()))?;
        copy::renew(self.root, tracked, &written, &self.copy)?;
        eprintln!("boot: building {name} with {} changes", changes.len());
        let compiled = compile::program(&self.copy, name, self.tests, sources, changes)?;
        let package = self.copy.join(self.package.strip_prefix(self.root).unwrap_or(&self.package));
        let program = Program { path: compiled.program, package };
        let coverage = Coverage::learn(&program, &self.copy.with_extension("noted"))?;
        coverage.check(&program)?;
        let tests = coverage.by_change();
        eprintln!("boot: running the tests with {} changes", changes.len() - compiled.refused.len());
        for change in changes {
            let verdict = if compiled.refused.contains(&change.id) {
                Verdict::NotCompiled
            } else {
                let tests = tests.get(&change.id).map_or(&[][..], Vec::as_slice);
                let id = OsString::from(change.id.to_string());
                judge::judge(tests, |tests, limit| {
                    Ok(program.try_tests(tests, (switch::CHANGE, &id), limit)?.0)
                })?
            };
            told.keep(change, verdict)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: u32, file: &str, text: &str) -> Change {
        let edit = find::Edit::Return { at: 0, value: String::new() };
        Change { id, source: 0, file: file.into(), text: format!("{file}:1:1: {text}"), edit }
    }

    fn chosen(
        file: Option<&str>,
        only: Option<&str>,
        shard: Option<&str>,
    ) -> std::result::Result<Vec<u32>, String> {
        let changes = [
            change(1, "kernel/p/src/a.rs", "replace f with ()"),
            change(2, "kernel/p/src/b.rs", "replace < with == in f"),
            change(3, "kernel/p/src/b.rs", "replace < with > in f"),
        ];
        let options = Options {
            package: "p".into(),
            only: only.map(String::from),
            file: file.map(String::from),
            shard: shard.map(|text| text.parse().unwrap()),
            unseen: false,
            models: false,
            list: false,
        };
        let chosen = choose(&options, &changes, Path::new("kernel/p")).map_err(|error| error.message)?;
        Ok(chosen.iter().map(|change| change.id).collect())
    }

    #[test]
    fn the_user_chooses_by_file_by_text_and_by_part() {
        assert_eq!(chosen(None, None, None).unwrap(), [1, 2, 3]);
        assert_eq!(chosen(Some("kernel/p/src/b"), None, None).unwrap(), [2, 3]);
        assert_eq!(chosen(Some("src/a"), None, None).unwrap(), [1]);
        assert_eq!(chosen(None, Some("< with"), None).unwrap(), [2, 3]);
        assert_eq!(chosen(None, None, Some("1/2")).unwrap(), [2]);
        assert_eq!(chosen(None, None, Some("0/2")).unwrap(), [1, 3]);
        assert!(chosen(Some("src/c"), None, None).unwrap_err().contains("--file src/c"));
        assert!(chosen(None, Some("with 7"), None).unwrap_err().contains("--only with 7"));
    }

    #[test]
    fn parts_that_are_none_are_refused() {
        for wrong in ["", "1", "2/2", "0/0", "a/2", "-1/2", "0/2/3"] {
            assert!(Shard::from_str(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Shard::from_str("1/2"), Ok(Shard { number: 1, of: 2 }));
    }
}
