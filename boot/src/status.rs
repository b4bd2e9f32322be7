//! Exit statuses of `run.sh`, and the error that carries one.

use std::fmt;
use std::process::ExitCode;

/// How an action ended, as the exit status says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Ok,
    /// A command or a test failed, or something could not be built.
    Failed,
    /// The user typed something that makes no sense.
    Usage,
    /// The kernel panicked, faulted or reset.
    Crashed,
    /// The machine lacks something.
    Unfit,
    /// The time limit passed.
    TimedOut,
    /// This process got a signal that ends it.
    Interrupted(i32),
}

impl Status {
    /// The number the process exits with.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Crashed => 3,
            Self::Unfit => 4,
            Self::TimedOut => 124,
            Self::Interrupted(signal) => 128 + (signal & 0x7f) as u8,
        }
    }

    /// The one to report of two parts of one action: a crash says more than a
    /// time-out, and that more than a failure.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |status| match status {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unfit => 3,
            Self::TimedOut => 4,
            Self::Crashed => 5,
            Self::Interrupted(_) => 6,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.code().into()
    }
}

/// What went wrong outside the machine, and the status to exit with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The status to exit with.
    pub status: Status,
    /// One line for the user; empty if all has been said.
    pub message: String,
}

impl Error {
    /// Something could not be done.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { status: Status::Failed, message: message.into() }
    }

    /// The user typed something that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { status: Status::Usage, message: message.into() }
    }

    /// This computer lacks something.
    pub fn unfit(message: impl Into<String>) -> Self {
        Self { status: Status::Unfit, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// A result whose error knows its exit status.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what was being done when an error of another kind struck.
pub trait Doing<T> {
    /// `doing` completes the sentence "cannot ...".
    ///
    /// # Errors
    /// Returns the error of the result, as an [`Error`] of status [`Status::Failed`].
    fn doing(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::failed(format!("cannot {doing}: {error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_status_wins_in_either_order() {
        let ranked =
            [Status::Ok, Status::Failed, Status::Usage, Status::Unfit, Status::TimedOut, Status::Crashed];
        for (i, low) in ranked.into_iter().enumerate() {
            for high in ranked.into_iter().skip(i) {
                assert_eq!(low.worse(high), high);
                assert_eq!(high.worse(low), high);
            }
        }
    }

    #[test]
    fn an_error_says_what_was_being_done() {
        let error = Err::<(), _>("no space").doing("write the image").unwrap_err();
        assert_eq!(error, Error::failed("cannot write the image: no space"));
    }
}
