//! Reads traces of text: those of Linux's tracefs and of `trace-cmd report`, and those that this kernel writes.
//!
//! | module | for |
//! |---|---|
//! | [`source`] | the lines of a file, which may be compressed |
//! | [`mod@line`] | what a line says: when, where, who, which event |

pub mod line;
pub mod source;
