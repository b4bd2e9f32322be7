//! Entries above the leaf tables that link a table.

use super::{
    Entry,
    bits::{ACCESSED, MADE, PRESENT, WRITABLE},
};
use crate::Frame;

impl Entry {
    /// Makes an entry of a directory, which links a table below it. Only leaf entries limit access.
    pub fn table(frame: Frame) -> Self {
        Self(frame.address() | PRESENT | WRITABLE | ACCESSED)
    }

    /// Makes an entry that links a directory which the library has made.
    pub fn directory(frame: Frame) -> Self {
        Self(Self::table(frame).0 | MADE)
    }

    /// Returns whether the entry links a directory which the library has made, and not somebody before it.
    pub fn is_made_directory(self) -> bool {
        self.0 & (PRESENT | MADE) == PRESENT | MADE
    }
}
