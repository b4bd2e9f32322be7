//! What all commands of the console have in common, wherever they are: how they fail.
//!
//! `history`, `test_vmalloc` and `console` have commands; a command is called in a thread that may wait.

use alloc::string::String;
use core::fmt;

/// Why a command failed: one line, which names what was wrong.
#[derive(Debug)]
pub struct CommandError(String);

impl CommandError {
    /// A failure described by one line.
    pub fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
