//! The folders that this program works in: the workspace, cargo's target folder, and where the user is.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::status::{Doing, Result};

/// The environment variable by which `run.sh` and `boot/runner.sh` name the user's current folder: they start cargo in
/// the checkout, and the paths that the user names are meant from elsewhere.
pub const CURRENT_DIR: &str = "VMALLOC_CURRENT_DIR";

/// Makes the user's current folder this process's.
///
/// # Errors
/// If it is gone.
pub fn go_to_the_user() -> Result<()> {
    match env::var_os(CURRENT_DIR) {
        Some(folder) => env::set_current_dir(&folder).doing(format_args!("go to {}", folder.display())),
        None => Ok(()),
    }
}

/// The folder of the workspace. Cargo names it when it runs this program. What was compiled in may be another's: cargo
/// takes a checkout that was moved or copied, with all that was built in it, for what it was.
///
/// # Panics
/// If this crate has no parent folder, which cannot be.
#[must_use]
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let named = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let package = named.filter(|package| package.ends_with("boot"));
        let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        package.parent().expect("boot/ is in the workspace").to_owned()
    })
}

/// A folder for files of the kind `name` in cargo's target folder, where this program is too.
///
/// # Errors
/// If it cannot be made.
pub fn target_folder(name: &str) -> Result<PathBuf> {
    let program = env::current_exe().doing("find this program")?;
    // target/TRIPLE/PROFILE/boot; test programs are one folder deeper.
    // Cargo marks the target folder, and those of the triples in it too.
    let marked = program.ancestors().filter(|folder| folder.join("CACHEDIR.TAG").is_file());
    let target = marked.last().map_or_else(|| root().join("target"), Path::to_owned);
    let folder = target.join(name);
    std::fs::create_dir_all(&folder).doing(format_args!("make the folder {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_and_its_target_folder_are_found() {
        assert!(root().join("boot/protocol/Cargo.toml").is_file());
        assert!(target_folder("images").unwrap().is_dir());
    }
}
