//! A line of text and the cursor in it.

use crate::LONGEST;
use alloc::string::String;

/// See the module.
#[derive(Debug)]
pub(crate) struct Line {
    text: String,
    /// Byte of the text that the cursor is on: the start of a character, or the end.
    at: usize,
}

impl Line {
    pub const fn new() -> Self {
        Self { text: String::new(), at: 0 }
    }

    /// A text, with the cursor at its end.
    pub fn of(text: &str) -> Self {
        Self { text: text.into(), at: text.len() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn into_text(self) -> String {
        self.text
    }

    /// Characters before the cursor.
    pub fn cursor(&self) -> usize {
        self.before().chars().count()
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    pub fn is_before_space(&self) -> bool {
        self.text[self.at..].starts_with(' ')
    }

    /// The word that ends at the cursor, and what is before it. Words end at spaces, and commands at semicolons.
    pub fn word_before(&self) -> (&str, &str) {
        let start = self.before().rfind([' ', ';']).map_or(0, |separator| separator + 1);
        self.before().split_at(start)
    }

    fn before(&self) -> &str {
        &self.text[..self.at]
    }

    /// Inserts text at the cursor, which goes behind it; `false`: the line would be too long, or there is none.
    pub fn insert(&mut self, text: &str) -> bool {
        let fits = self.text.len() + text.len() <= LONGEST;
        if fits {
            self.text.insert_str(self.at, text);
            self.at += text.len();
        }
        fits && !text.is_empty()
    }

    /// Moves the cursor; `false`: it is there already.
    fn go(&mut self, at: usize) -> bool {
        let moves = at != self.at;
        self.at = at;
        moves
    }

    pub fn go_left(&mut self) -> bool {
        self.go(self.left())
    }

    pub fn go_right(&mut self) -> bool {
        self.go(self.right())
    }

    pub fn go_word_left(&mut self) -> bool {
        self.go(self.word_start())
    }

    pub fn go_word_right(&mut self) -> bool {
        let behind = &self.text[self.at..];
        let word = behind.find(|c| c != ' ').unwrap_or(behind.len());
        let end = behind[word..].find(' ').map_or(behind.len(), |length| word + length);
        self.go(self.at + end)
    }

    pub fn go_home(&mut self) -> bool {
        self.go(0)
    }

    pub fn go_end(&mut self) -> bool {
        self.go(self.text.len())
    }

    pub fn delete_before(&mut self) -> bool {
        !self.take(self.left(), self.at).is_empty()
    }

    pub fn delete_under(&mut self) -> bool {
        !self.take(self.at, self.right()).is_empty()
    }

    pub fn take_word_before(&mut self) -> String {
        self.take(self.word_start(), self.at)
    }

    pub fn take_to_start(&mut self) -> String {
        self.take(0, self.at)
    }

    pub fn take_to_end(&mut self) -> String {
        self.take(self.at, self.text.len())
    }

    /// Takes a part out of the text that the cursor is in or beside.
    fn take(&mut self, start: usize, end: usize) -> String {
        self.at = start;
        self.text.drain(start..end).collect()
    }

    fn left(&self) -> usize {
        self.before().char_indices().next_back().map_or(0, |(index, _)| index)
    }

    fn right(&self) -> usize {
        self.at + self.text[self.at..].chars().next().map_or(0, char::len_utf8)
    }

    /// Where the word begins that is before the cursor, spaces between them included.
    fn word_start(&self) -> usize {
        self.before().trim_end_matches(' ').rfind(' ').map_or(0, |space| space + 1)
    }
}
