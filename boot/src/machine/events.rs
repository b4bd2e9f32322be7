//! The file that `trace stream` has the kernel write events to.

use std::fs;
use std::path::{Path, PathBuf};

use crate::places;
use crate::status::Result;

/// The file of a machine. It stays if anything was written to it.
#[derive(Debug)]
pub struct Events(PathBuf);

impl Events {
    /// Names a file in `target/traces`.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self(places::target_folder("traces")?.join(format!("{}.trace", std::process::id()))))
    }

    /// The file, which QEMU makes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Tells the user on standard error where the events are, if there are any.
    pub fn tell(&self) {
        if fs::metadata(&self.0).is_ok_and(|about| about.len() > 0) {
            eprintln!("boot: the events are in {}", self.0.display());
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if fs::metadata(&self.0).is_ok_and(|about| about.len() == 0) {
            let _ = fs::remove_file(&self.0);
        }
    }
}
