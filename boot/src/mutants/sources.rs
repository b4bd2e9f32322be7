//! The source files of a library that have code which is not for tests, and all changes of them.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::find::{self, Change};
use crate::cfg::Tests;
use crate::status::{Doing, Result};

/// A source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path, from the workspace's folder on.
    pub file: String,
    /// What it says.
    pub text: String,
}

/// The files of one library; that of its root is the first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The files.
    pub files: Vec<Source>,
    /// Their changes, by their numbers, of which the first is 1.
    pub changes: Vec<Change>,
}

impl Sources {
    /// Reads the library in the folder `package` of the workspace `root`, with the changes that a program with such tests
    /// may have.
    ///
    /// # Errors
    /// If a file cannot be read, or is no Rust.
    pub fn read(root: &Path, package: &Path, tests: Tests) -> Result<Self> {
        let mut sources = Self::default();
        let folder = package.join("src");
        sources.file(root, &folder.join("lib.rs"), &folder, tests)?;
        for (id, change) in (1..).zip(&mut sources.changes) {
            change.id = id;
        }
        Ok(sources)
    }

    /// Takes in a file, and the modules that it has in the folder `below`.
    fn file(&mut self, root: &Path, file: &Path, below: &Path, tests: Tests) -> Result<()> {
        let text = fs::read_to_string(file).doing(format_args!("read {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(file).display().to_string();
        let found = find::changes(&name, &text, tests)?;
        self.files.push(Source { file: name, text });
        self.changes.extend(found.changes);
        let beside = file.parent().unwrap_or(root);
        for module in &found.elsewhere {
            // The compiler misses what is not there, if this build wants it.
            let Some(inner) = find::file_of(module, beside, below) else { continue };
            let owns_folder = module.named.is_some() || inner.ends_with("mod.rs");
            let inner_below =
                if owns_folder { inner.parent().unwrap_or(root).into() } else { inner.with_extension("") };
            self.file(root, &inner, &inner_below, tests)?;
        }
        Ok(())
    }
}

/// What makes the changes and judges them, and what compiles them.
const MAKERS: [&str; 3] = ["boot/src/mutants/", "rust-toolchain.toml", ".cargo/config.toml"];

/// A number that is another one when a file in these folders is, those of tests too, or a dependency's version, or what the
/// changes are made by.
///
/// # Errors
/// If a file cannot be read.
pub fn hash(root: &Path, folders: &[PathBuf], tracked: &[String]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for name in tracked {
        let path = root.join(name);
        let counts = folders.iter().any(|folder| path.starts_with(folder))
            || MAKERS.iter().any(|maker| name.starts_with(maker))
            || name == "Cargo.toml"
            || name == "Cargo.lock";
        if counts && path.is_file() {
            name.hash(&mut hasher);
            fs::read(&path).doing(format_args!("read {name}"))?.hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_in_files_are_followed_and_those_of_tests_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join("p/src").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let lib = "mod a; mod b { mod c; } #[cfg(test)] mod t; #[path = \"other.rs\"] mod d; #[cfg(loom)] mod e;\n\
            fn f() -> bool { 1 < 2 }";
        write("lib.rs", lib);
        write("a.rs", "mod x;\nfn f(x: u8) -> u8 { x + 1 }");
        write("a/x.rs", "");
        write("b/c/mod.rs", "");
        write("t.rs", "fn f() {}");
        write("other.rs", "");
        write("e.rs", "fn f() { 1 + 1; }");
        let sources = Sources::read(folder.path(), &folder.path().join("p"), Tests::Units).unwrap();
        let names: Vec<&str> = sources.files.iter().map(|source| source.file.as_str()).collect();
        assert_eq!(
            names,
            ["p/src/lib.rs", "p/src/a.rs", "p/src/a/x.rs", "p/src/b/c/mod.rs", "p/src/other.rs"]
        );
        let ids: Vec<u32> = sources.changes.iter().map(|change| change.id).collect();
        assert_eq!(ids, (1..=9).collect::<Vec<u32>>());
        assert_eq!(sources.changes[4].text, "p/src/lib.rs:2:20: replace < with <= in f");
    }

    #[test]
    fn the_number_tells_of_each_file_in_the_folders_and_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let folders = ["p", "used"].map(|name| root.join(name));
        folders.iter().for_each(|folder| fs::create_dir(folder).unwrap());
        fs::create_dir_all(root.join("boot/src/mutants")).unwrap();
        let files = ["Cargo.lock", "p/a", "q", "used/b", "boot/src/mutants/kinds.rs"].map(String::from);
        let number = |changed: &str| {
            for name in &files {
                fs::write(root.join(name), if name == changed { "new" } else { "old" }).unwrap();
            }
            hash(root, &folders, &files).unwrap()
        };
        let before = number("");
        assert_eq!(number("q"), before);
        for counts in ["Cargo.lock", "p/a", "used/b", "boot/src/mutants/kinds.rs"] {
            assert_ne!(number(counts), before, "{counts}");
        }
    }
}
