//! The copy of the workspace that the changes are written to, so that the user's files stay as they are.
//!
//! It is kept between runs, with all that cargo made in it. A file that is the same as before is not written again:
//! cargo goes by the time of the last write.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::status::{Doing, Error, Result};

/// What cargo makes in the copy.
const MADE: [&str; 2] = ["target", "Cargo.lock"];

/// The files of the workspace that git knows, or would take if it was asked to.
///
/// # Errors
/// If the workspace is no checkout, or git is not there.
pub fn tracked(root: &Path) -> Result<Vec<String>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let out = command.output().doing("start git, which tells the workspace's files")?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        return Err(Error::failed(format!("git ls-files: {}", why.trim_end().replace('\n', " "))));
    }
    let names = String::from_utf8_lossy(&out.stdout);
    let names: BTreeSet<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
    Ok(names.into_iter().map(String::from).collect())
}

/// Makes `copy` a copy of the workspace's files but for those in `written`, which are left as they are.
///
/// # Errors
/// If a file cannot be read or written.
pub fn renew(root: &Path, tracked: &[String], written: &BTreeSet<&str>, copy: &Path) -> Result<()> {
    let mut wanted = BTreeSet::new();
    for name in tracked {
        let from = root.join(name);
        // One that was deleted is still known to git.
        if !from.is_file() {
            continue;
        }
        wanted.insert(copy.join(name));
        if !written.contains(name.as_str()) {
            write(&copy.join(name), &fs::read(&from).doing(format_args!("read {name}"))?)?;
        }
    }
    let made: Vec<PathBuf> = MADE.iter().map(|name| copy.join(name)).collect();
    remove_others(copy, &wanted, &made)
}

/// Writes a file unless it says that already.
///
/// # Errors
/// If it cannot be written.
pub fn write(file: &Path, content: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).doing(format_args!("make the folder {}", folder.display()))?;
    fs::write(file, content).doing(format_args!("write {}", file.display()))
}

/// Removes what is in the workspace no more.
fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>, made: &[PathBuf]) -> Result<()> {
    for entry in fs::read_dir(folder).doing(format_args!("read the folder {}", folder.display()))? {
        let path = entry.doing(format_args!("read the folder {}", folder.display()))?.path();
        if made.contains(&path) {
            continue;
        }
        if path.is_dir() {
            remove_others(&path, wanted, made)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path).doing(format_args!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_gets_what_is_new_loses_what_is_gone_and_keeps_what_was_made() {
        let (root, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, copy) = (root.path(), copy.path());
        for name in ["src/a", "b"] {
            write(&root.join(name), b"new").unwrap();
        }
        for name in ["src/a", "b", "src/gone", "target/x", "Cargo.lock"] {
            write(&copy.join(name), b"old").unwrap();
        }
        let tracked = ["b", "deleted", "src/a"].map(String::from);
        renew(root, &tracked, &BTreeSet::from(["b"]), copy).unwrap();
        let read = |name: &str| fs::read_to_string(copy.join(name)).ok();
        assert_eq!(read("src/a").as_deref(), Some("new"));
        assert_eq!(read("b").as_deref(), Some("old"));
        assert_eq!(read("src/gone"), None);
        assert!(read("target/x").is_some() && read("Cargo.lock").is_some());
    }
}
