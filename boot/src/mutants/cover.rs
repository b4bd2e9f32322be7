//! Learns which tests come to which change, and how long each takes, by running each alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::judge;
use super::program::Program;
use super::switch::{self, NOTED};
use crate::session::How;
use crate::status::{Doing, Error, Result};

/// How long one test may take without a change.
const LIMIT: Duration = Duration::from_secs(600);

/// A test that passes without a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub took: Duration,
}

/// Which tests come to which change.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// The tests that passed, the quickest first.
    tests: Vec<(Test, BTreeSet<u32>)>,
}

impl Coverage {
    /// Runs each test alone. Those that fail without a change are left out, with a line for each.
    ///
    /// # Errors
    /// If the program cannot be started, or a signal wants this one to end.
    pub fn learn(program: &Program, file: &Path) -> Result<Self> {
        let mut tests = Vec::new();
        let names = program.tests()?;
        eprintln!("boot: running each of {} tests alone", names.len());
        for name in names {
            // A test that comes to no change writes no file.
            let _ = fs::remove_file(file);
            let (how, took) = program.try_tests(&[&name], (NOTED, file.as_os_str()), LIMIT)?;
            judge::says_something(how)?;
            if how != How::Exited(0) {
                eprintln!("boot: {name} fails without any change, and is left out");
                continue;
            }
            let noted =
                if file.exists() { fs::read(file).doing("read what a test noted")? } else { Vec::new() };
            tests.push((Test { name, took }, ids(&noted)));
        }
        let _ = fs::remove_file(file);
        Ok(Self::of(tests))
    }

    /// What these tests come to.
    fn of(mut tests: Vec<(Test, BTreeSet<u32>)>) -> Self {
        tests.sort_by_key(|(test, _)| test.took);
        Self { tests }
    }

    /// Runs all tests in one process without a change, as those are run that come to one: what fails then would see each change.
    ///
    /// # Errors
    /// If there are none, or one fails; and as [`learn`](Self::learn).
    pub fn check(&self, program: &Program) -> Result<()> {
        let names: Vec<&str> = self.tests.iter().map(|(test, _)| test.name.as_str()).collect();
        if names.is_empty() {
            return Err(Error::failed("no test passes without any change"));
        }
        let limit = judge::limit(self.tests.iter().map(|(test, _)| test));
        match program.try_tests(&names, (switch::CHANGE, OsStr::new("0")), limit)?.0 {
            How::Exited(0) => Ok(()),
            how => Err(Error::failed(format!(
                "the tests pass each by itself, but not all in one process, without any change: {how:?}"
            ))),
        }
    }

    /// The tests that come to each change that one comes to, the quickest first.
    #[must_use]
    pub fn by_change(&self) -> BTreeMap<u32, Vec<&Test>> {
        let mut by_change: BTreeMap<u32, Vec<&Test>> = BTreeMap::new();
        for (test, ids) in &self.tests {
            ids.iter().for_each(|id| by_change.entry(*id).or_default().push(test));
        }
        by_change
    }
}

/// The numbers of changes that a test noted.
fn ids(noted: &[u8]) -> BTreeSet<u32> {
    noted.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::write_script;

    /// Seen failing with nothing looked at: each change that both come to would be taken for seen.
    #[test]
    fn tests_that_do_not_go_together_are_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program { path: folder.path().join("program"), package: folder.path().into() };
        let test = |name: &str| (Test { name: name.into(), took: Duration::ZERO }, BTreeSet::from([1]));
        let check = |script: &str, names: &[&str]| {
            write_script(&program.path, script);
            let checked = Coverage::of(names.iter().copied().map(test).collect()).check(&program);
            checked.map_err(|error| error.message)
        };
        // A test has three words behind it.
        let one_alone = "[ $# = 4 ] || exit 101";
        assert_eq!(check(one_alone, &["a"]), Ok(()));
        assert!(check(one_alone, &["a", "b"]).unwrap_err().contains("not all in one process"));
        assert!(check("exit 0", &[]).unwrap_err().contains("no test passes"));
    }

    #[test]
    fn numbers_are_read_and_tests_are_told_by_change_the_quickest_first() {
        assert_eq!(ids(&[1, 0, 0, 0, 0, 1, 0, 0, 9]), BTreeSet::from([1, 256]));
        let test = |name: &str, took, ids: &[u32]| {
            (Test { name: name.into(), took: Duration::from_millis(took) }, ids.iter().copied().collect())
        };
        let coverage =
            Coverage::of(vec![test("slow", 9, &[1, 2]), test("quick", 1, &[2]), test("none", 1, &[])]);
        let names: Vec<(u32, Vec<&str>)> = coverage
            .by_change()
            .into_iter()
            .map(|(id, tests)| (id, tests.iter().map(|test| test.name.as_str()).collect()))
            .collect();
        assert_eq!(names, [(1, vec!["slow"]), (2, vec!["quick", "slow"])]);
    }
}
