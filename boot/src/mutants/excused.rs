//! Reads which changes need not be seen: those that `exclude_re` in `.cargo/mutants.toml` lists, each with its reason.

use std::fs;
use std::path::Path;

use regex_lite::Regex;
use serde::Deserialize;

use crate::status::{Doing, Result};

/// The file, from the workspace's folder on; it is cargo-mutants' too.
const FILE: &str = ".cargo/mutants.toml";

/// What is excused.
#[derive(Clone, Debug, Default)]
pub struct Excused(Vec<Regex>);

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    exclude_re: Vec<String>,
}

impl Excused {
    /// Reads the workspace's list; a workspace without one excuses nothing.
    ///
    /// # Errors
    /// If the file says what cannot be understood.
    pub fn read(root: &Path) -> Result<Self> {
        match fs::read_to_string(root.join(FILE)) {
            Ok(text) => Self::parse(&text),
            Err(_) => Ok(Self::default()),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let options: Options = toml::from_str(text).doing(format_args!("read {FILE}"))?;
        let compile = |pattern: &String| Regex::new(pattern).doing(format_args!("read {pattern} in {FILE}"));
        options.exclude_re.iter().map(compile).collect::<Result<_>>().map(Self)
    }

    /// Whether a change need not be seen.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources::Sources;
    use super::*;
    use crate::cfg::Tests;
    use crate::places;

    #[test]
    fn what_the_list_has_is_excused() {
        let text =
            "profile = \"x\"\nexclude_re = [\n# Why.\n\"< with (==|<=) in A::f$\",\n'a.rs:\\d+:7: ']\n";
        let excused = Excused::parse(text).unwrap();
        assert!(excused.has("b.rs:1:1: replace < with <= in A::f"));
        assert!(!excused.has("b.rs:1:1: replace < with > in A::f"));
        assert!(!excused.has("b.rs:1:1: replace < with <= in A::first"));
        assert!(excused.has("a.rs:31:7: replace f with ()") && !excused.has("a.rs:31:8: replace f with ()"));
        assert!(!Excused::parse("").unwrap().has("anything"));
        assert!(Excused::parse("exclude_re = ['(']").is_err());
    }

    /// Code that moves away from its excuse is told of here.
    #[test]
    fn each_excuse_of_this_workspace_is_of_a_change() {
        let root = places::root();
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let members =
            manifest.parse::<toml::Table>().unwrap()["workspace"]["members"].as_array().unwrap().clone();
        let packages = members.iter().map(|member| root.join(member.as_str().unwrap()));
        let libraries: Vec<_> = packages.filter(|package| package.join("src/lib.rs").is_file()).collect();
        let sources = libraries.iter().map(|library| Sources::read(root, library, Tests::Units).unwrap());
        let changes: Vec<String> = sources.flat_map(|of| of.changes).map(|change| change.text).collect();
        let excused = Excused::read(root).unwrap().0;
        let idle = excused.iter().filter(|excuse| !changes.iter().any(|change| excuse.is_match(change)));
        assert_eq!(idle.map(Regex::as_str).collect::<Vec<_>>(), [""; 0]);
        assert!(!excused.is_empty());
    }
}
