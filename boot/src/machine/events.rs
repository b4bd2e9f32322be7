//! The file that `trace stream` has the kernel write events to.

use std::fs;
use std::path::PathBuf;

use crate::places;
use crate::scratch::Scratch;
use crate::status::Result;

/// The name of the file in its folder.
const NAME: &str = "events.trace";

/// The file of a machine. It is kept in `target/traces` if anything was written to it.
#[derive(Debug)]
pub struct Events(Scratch);

impl Events {
    /// Makes a folder for it.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self(Scratch::within(&places::target_folder("traces")?)?))
    }

    /// The file, which QEMU makes.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join(NAME)
    }

    /// Keeps the file if there are events, and tells the user on standard error where.
    pub fn tell(&self) {
        if fs::metadata(self.path()).is_ok_and(|about| about.len() > 0) {
            match self.0.keep(NAME) {
                Ok(path) => eprintln!("boot: the events are in {}", path.display()),
                Err(error) => eprintln!("boot: cannot keep the events: {error}"),
            }
        }
    }
}
