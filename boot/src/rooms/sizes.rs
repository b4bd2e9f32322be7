//! How long files are, and how many a folder has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::status::{Doing, Result};

/// The lines that a file may have.
pub const LONGEST: usize = 400;
/// The lines that the median file of a crate with rooms may have.
pub const MEDIAN: usize = 250;
/// The source files that a folder may have, without those of its subfolders.
pub const FOLDER: usize = 12;

/// The source files of one package, with their lines, by their paths.
pub type Files = BTreeMap<PathBuf, usize>;

/// The files of all packages in `folder`, by the packages' folders; but not those in `others`.
///
/// # Errors
/// If a folder or file cannot be read.
pub fn packages(folder: &Path, others: &[PathBuf]) -> Result<BTreeMap<PathBuf, Files>> {
    let mut packages = BTreeMap::new();
    walk(folder, folder, others, &mut packages)?;
    Ok(packages)
}

fn walk(
    folder: &Path,
    package: &Path,
    others: &[PathBuf],
    packages: &mut BTreeMap<PathBuf, Files>,
) -> Result<()> {
    let package = if folder.join("Cargo.toml").is_file() { folder } else { package };
    for entry in fs::read_dir(folder).doing(format_args!("read {}", folder.display()))? {
        let path = entry.doing(format_args!("read {}", folder.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') && !others.contains(&path) {
                walk(&path, package, others, packages)?;
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).doing(format_args!("read {}", path.display()))?;
            packages.entry(package.to_owned()).or_default().insert(path, text.lines().count());
        }
    }
    Ok(())
}

/// The lines of the file in the middle.
#[must_use]
pub fn median(files: &Files) -> usize {
    let mut lines: Vec<usize> = files.values().copied().collect();
    lines.sort_unstable();
    lines.get(lines.len() / 2).copied().unwrap_or(0)
}

/// The longest file.
#[must_use]
pub fn longest(files: &Files) -> Option<(&Path, usize)> {
    files.iter().max_by_key(|(_, lines)| **lines).map(|(path, lines)| (path.as_path(), *lines))
}

/// A line if the package's median file is longer than it may be.
#[must_use]
pub fn median_offence(package: &Path, files: &Files, root: &Path) -> Option<String> {
    let median = median(files);
    let package = package.strip_prefix(root).unwrap_or(package).display();
    (median > MEDIAN).then(|| format!("{package}: its median file has {median} lines, more than {MEDIAN}"))
}

/// The files that are too long, and the folders that have too many, a line each. Paths are shown from `root` on.
#[must_use]
pub fn offences(files: &Files, root: &Path) -> Vec<String> {
    let show = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let too_long = files.iter().filter(|(_, lines)| **lines > LONGEST);
    let mut offences: Vec<String> =
        too_long.map(|(path, lines)| format!("{}: {lines} lines, more than {LONGEST}", show(path))).collect();
    let mut folders: BTreeMap<&Path, usize> = BTreeMap::new();
    for folder in files.keys().filter_map(|path| path.parent()) {
        *folders.entry(folder).or_default() += 1;
    }
    let too_full = folders.iter().filter(|(_, count)| **count > FOLDER);
    offences.extend(
        too_full.map(|(path, count)| format!("{}: {count} source files, more than {FOLDER}", show(path))),
    );
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_kept_and_one_more_is_an_offence() {
        let files = |lines: &[usize]| -> Files {
            lines.iter().enumerate().map(|(i, lines)| (format!("/w/p/src/{i}.rs").into(), *lines)).collect()
        };
        let root = Path::new("/w");
        let offences = |lines: &[usize]| offences(&files(lines), root);
        let median = |lines: &[usize]| median_offence(Path::new("/w/p"), &files(lines), root);
        assert!(offences(&[400, 250, 250]).is_empty());
        assert_eq!(offences(&[401, 1, 1]), ["p/src/0.rs: 401 lines, more than 400"]);
        assert_eq!(median(&[400, 250, 250]), None);
        assert_eq!(median(&[251, 251, 1]).unwrap(), "p: its median file has 251 lines, more than 250");
        assert!(offences(&[1; 12]).is_empty());
        assert_eq!(offences(&[1; 13]), ["p/src: 13 source files, more than 12"]);
    }

    #[test]
    fn packages_in_packages_are_told_apart() {
        let root = crate::cargo::root();
        let boot = root.join("boot");
        let packages = packages(&boot, &[]).unwrap();
        assert!(packages[&boot.join("protocol")].contains_key(&boot.join("protocol/src/lib.rs")));
        assert!(packages[&boot].contains_key(&boot.join("src/rooms/sizes.rs")));
        assert!(
            !super::packages(&boot, &[boot.join("protocol")]).unwrap().contains_key(&boot.join("protocol"))
        );
    }
}
