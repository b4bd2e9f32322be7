//! How a program ended.

use std::time::Duration;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, with this exit status.
    Exited(i32),
    /// By a signal from elsewhere.
    Signalled(i32),
    /// It was ended because its time was up.
    TimedOut,
    /// It was ended because its kernel had said all, and ended the machine, which went on.
    NotEnded,
    /// It was ended because the user, or the receiver of its output, wanted so.
    EndedByUser,
}

/// The end of a program.
#[derive(Clone, Debug)]
pub struct End {
    /// How it ended.
    pub how: How,
    /// What it printed on standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}
