//! A line editor for a console on a serial line: pure logic, bytes in and bytes out.
//!
//! [`Editor::start`] begins a line; each byte that was typed goes to [`Editor::feed`], which gives the line when Enter
//! was pressed. What the terminal is to show is written to a [`fmt::Write`]; lines end with a newline alone, a terminal
//! in raw mode wants its host to add the carriage return.
//!
//! | keys | do |
//! |---|---|
//! | Left, Right, Ctrl-B, Ctrl-F | move by a character; with Ctrl or Alt, and Alt-B, Alt-F, by a word |
//! | Home, End, Ctrl-A, Ctrl-E | move to the ends of the line |
//! | Backspace, Delete, Ctrl-H, Ctrl-D | delete a character, before or under the cursor |
//! | Ctrl-W, Ctrl-U, Ctrl-K | delete the word before the cursor, all before it, all from it on; Ctrl-Y inserts what that deleted last |
//! | Up, Down, Ctrl-P, Ctrl-N | earlier lines, later ones |
//! | Tab | completes a word, or lists what it may become |
//! | Ctrl-C | gives the line up |
//! | Ctrl-L | clears the screen |
//!
//! The terminal is never asked anything, so that input may come from a pipe, whose lines are echoed as they are. So the
//! terminal's width is not known: the editor uses [`COLUMNS`], and scrolls a longer line sideways. Each character is
//! taken for one column wide.
#![no_std]

extern crate alloc;

mod history;
mod keys;
mod line;
mod nearest;
#[cfg(test)]
mod tests;

use alloc::{string::String, vec::Vec};
use core::fmt::{self, Write};
use history::History;
use keys::{Key, Keys};
use line::Line;

pub use nearest::nearest;

/// Columns that the editor uses of the terminal, the prompt included.
pub const COLUMNS: usize = 80;
/// Bytes of the longest line; what is typed beyond is refused by the bell.
pub const LONGEST: usize = 512;
/// Lines that the history keeps.
pub const HISTORY: usize = 100;

const BELL: char = '\x07';
const ERASE_TO_END: &str = "\x1b[K";
const ERASE_SCREEN: &str = "\x1b[H\x1b[2J";

/// What a word may become: called with the line before the word, and the part of the word before the cursor.
pub type Complete<'a> = &'a dyn Fn(&str, &str) -> Vec<&'static str>;

/// A line being edited, and those before it.
#[derive(Debug)]
pub struct Editor {
    prompt: &'static str,
    keys: Keys,
    line: Line,
    history: History,
    /// What was deleted last by one key, for Ctrl-Y.
    deleted: String,
    /// Characters of the line that are left of what is shown.
    scrolled: usize,
}

impl Editor {
    /// An editor without history. The prompt, of one column for each character, is shorter than half of [`COLUMNS`].
    #[must_use]
    pub const fn new(prompt: &'static str) -> Self {
        assert!(prompt.len() < COLUMNS / 2, "the prompt leaves no room for a line");
        Self {
            prompt,
            keys: Keys::new(),
            line: Line::new(),
            history: History::new(),
            deleted: String::new(),
            scrolled: 0,
        }
    }

    /// Begins a line: writes the prompt, where the terminal's cursor is in the first column.
    ///
    /// # Errors
    /// Those of `out`, as everywhere here.
    pub fn start(&mut self, out: &mut impl Write) -> fmt::Result {
        self.line = Line::new();
        self.scrolled = 0;
        out.write_str(self.prompt)
    }

    /// Takes a byte that was typed. The line, when that ends it; the terminal's cursor is in the first column then,
    /// and [`start`](Self::start) begins the next one.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn feed(
        &mut self,
        byte: u8,
        complete: Complete<'_>,
        out: &mut impl Write,
    ) -> Result<Option<String>, fmt::Error> {
        let Some(key) = self.keys.feed(byte) else { return Ok(None) };
        match key {
            Key::Enter => {
                out.write_char('\n')?;
                let line = core::mem::replace(&mut self.line, Line::new()).into_text();
                self.history.add(&line);
                return Ok(Some(line));
            }
            Key::GiveUp => {
                out.write_str("^C\n")?;
                self.history.leave();
                self.start(out)?;
            }
            Key::Character(character) => self.insert(character, out)?,
            Key::Backspace if self.line.is_at_end() && self.line.cursor() > self.scrolled => {
                self.line.delete_before();
                out.write_str("\x08 \x08")?;
            }
            Key::Tab => self.complete(complete, out)?,
            Key::ClearScreen => {
                out.write_str(ERASE_SCREEN)?;
                self.show(out)?;
            }
            other => {
                let changed = self.edit(other);
                if changed { self.show(out)? } else { out.write_char(BELL)? }
            }
        }
        Ok(None)
    }

    /// Carries out a key that changes the line or moves in it; `false`: there is nothing to do for it.
    fn edit(&mut self, key: Key) -> bool {
        let line = &mut self.line;
        let deleted = match key {
            Key::Left => return line.go_left(),
            Key::Right => return line.go_right(),
            Key::WordLeft => return line.go_word_left(),
            Key::WordRight => return line.go_word_right(),
            Key::Home => return line.go_home(),
            Key::End => return line.go_end(),
            Key::Backspace => return line.delete_before(),
            Key::Delete => return line.delete_under(),
            Key::Earlier | Key::Later => {
                let other = if key == Key::Earlier {
                    self.history.earlier(line.text())
                } else {
                    self.history.later()
                };
                return other.map(|text| *line = Line::of(text)).is_some();
            }
            Key::PutBack => return line.insert(&self.deleted),
            Key::DeleteWord => line.take_word_before(),
            Key::DeleteToStart => line.take_to_start(),
            Key::DeleteToEnd => line.take_to_end(),
            Key::Enter | Key::GiveUp | Key::Character(_) | Key::Tab | Key::ClearScreen => return false,
        };
        let some = !deleted.is_empty();
        if some {
            self.deleted = deleted;
        }
        some
    }

    fn insert(&mut self, character: char, out: &mut impl Write) -> fmt::Result {
        let at_end = self.line.is_at_end();
        if !self.line.insert(character.encode_utf8(&mut [0; 4])) {
            out.write_char(BELL)
        } else if at_end && self.line.cursor() <= self.scrolled + self.room() {
            // As it is: input from a pipe looks as if it was typed.
            out.write_char(character)
        } else {
            self.show(out)
        }
    }

    /// Columns for the line; the terminal's cursor has one behind them.
    fn room(&self) -> usize {
        COLUMNS - self.prompt.len() - 1
    }

    /// Shows the line anew in the row that the terminal's cursor is in, scrolled so that its own cursor is seen.
    fn show(&mut self, out: &mut impl Write) -> fmt::Result {
        let (cursor, room) = (self.line.cursor(), self.room());
        if !(self.scrolled..=self.scrolled + room).contains(&cursor)
            || (cursor == self.scrolled && cursor > 0)
        {
            // Half of the room on each side, as far as there is so much.
            self.scrolled = cursor.saturating_sub(room / 2);
        }
        write!(out, "\r{}", self.prompt)?;
        let mut shown = self.line.text().chars().skip(self.scrolled).take(room);
        shown.try_for_each(|character| out.write_char(character))?;
        write!(out, "{ERASE_TO_END}\r\x1b[{}C", self.prompt.len() + cursor - self.scrolled)
    }

    fn complete(&mut self, complete: Complete<'_>, out: &mut impl Write) -> fmt::Result {
        let (before, word) = self.line.word_before();
        let candidates = complete(before, word);
        let Some(common) = common_start(&candidates) else { return out.write_char(BELL) };
        let rest = common.strip_prefix(word).unwrap_or_default();
        match candidates.len() {
            1 => {
                // A value follows at once.
                let ends = self.line.is_before_space() || common.ends_with('=');
                let space = if ends { "" } else { " " };
                for text in [rest, space] {
                    if !text.is_empty() && !self.line.insert(text) {
                        out.write_char(BELL)?;
                    }
                }
            }
            _ if !rest.is_empty() => {
                if !self.line.insert(rest) {
                    out.write_char(BELL)?;
                }
            }
            _ => list(&candidates, out)?,
        }
        self.show(out)
    }
}

/// What all of them begin with; `None` without any.
fn common_start(candidates: &[&'static str]) -> Option<&'static str> {
    let (first, others) = candidates.split_first()?;
    let end = others.iter().fold(first.len(), |end, other| {
        let same = first.char_indices().zip(other.chars()).take_while(|((_, a), b)| a == b);
        let end_of_same = same.last().map_or(0, |((index, character), _)| index + character.len_utf8());
        end.min(end_of_same)
    });
    first.get(..end)
}

/// Lists words in columns, in rows of their own.
fn list(words: &[&str], out: &mut impl Write) -> fmt::Result {
    let width = words.iter().map(|word| word.len()).max().unwrap_or(0) + 2;
    let columns = (COLUMNS / width).max(1);
    for row in words.chunks(columns) {
        let (last, others) = row.split_last().unwrap_or((&"", &[]));
        out.write_char('\n')?;
        others.iter().try_for_each(|word| write!(out, "{word:width$}"))?;
        out.write_str(last)?;
    }
    out.write_char('\n')
}
