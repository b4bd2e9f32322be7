//! What all commands of the console have in common, wherever they are: how they fail.
//!
//! `history`, `test_vmalloc` and `console` have commands; a command is called in a thread that may wait.

use alloc::{format, string::String};
use core::fmt;

/// Why a command failed: one line, which names what was wrong.
#[derive(Debug)]
pub struct CommandError(String);

impl CommandError {
    /// A failure described by one line.
    pub fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }

    /// A failure because there is no such `what` as `word`, with the one of `known` that was probably meant.
    pub fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Self {
        match lineedit::nearest(word, known) {
            Some(meant) => Self(format!("{word}: no such {what}; did you mean {meant}?")),
            None => Self(format!("{word}: no such {what}")),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
