//! Words of the user's that several actions take.

use clap::builder::ValueParser;

/// Reads console commands; there must be one.
#[must_use]
pub fn commands() -> ValueParser {
    ValueParser::new(|text: &str| match text.split(';').all(|command| command.trim().is_empty()) {
        true => Err("no command"),
        false => Ok(text.to_owned()),
    })
}

/// Reads a part of the names of tests. What begins with a hyphen is none: a test program would take it for an option
/// of its own, and run all of its tests or none.
#[must_use]
pub fn filter() -> ValueParser {
    ValueParser::new(|text: &str| match text.starts_with('-') {
        true => Err("no part of a test's name begins with a hyphen"),
        false => Ok(text.to_owned()),
    })
}
