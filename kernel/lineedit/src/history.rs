//! The lines before.

use crate::HISTORY;
use alloc::{collections::VecDeque, string::String};

/// See the module.
#[derive(Debug)]
pub(crate) struct History {
    /// The oldest first.
    lines: VecDeque<String>,
    /// Which of them is shown, counted from the newest; 0: the one being typed.
    back: usize,
    /// The line being typed, while another one is shown.
    typed: String,
}

impl History {
    pub const fn new() -> Self {
        Self { lines: VecDeque::new(), back: 0, typed: String::new() }
    }

    /// Keeps a line, unless it is empty or as the one before; the next one is typed from now on.
    pub fn add(&mut self, line: &str) {
        self.leave();
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == HISTORY {
            self.lines.pop_front();
        }
        self.lines.push_back(line.into());
    }

    /// The line being typed was given up.
    pub fn leave(&mut self) {
        self.back = 0;
    }

    /// The line before the one that is shown, which is `shown`.
    pub fn earlier(&mut self, shown: &str) -> Option<&str> {
        let index = self.lines.len().checked_sub(self.back + 1)?;
        if self.back == 0 {
            self.typed = shown.into();
        }
        self.back += 1;
        Some(&self.lines[index])
    }

    /// The line behind the one that is shown: in the end the one that was being typed.
    pub fn later(&mut self) -> Option<&str> {
        self.back = self.back.checked_sub(1)?;
        Some(match self.back {
            0 => &self.typed,
            back => &self.lines[self.lines.len() - back],
        })
    }
}
