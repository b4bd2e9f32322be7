//! Tells text from records on the serial line, as the bytes come in.
//!
//! Text is handed on at once, not a line at a time: a prompt has no line end,
//! and what the user types is echoed byte by byte. In it functions and lines take the place of addresses of code, and a
//! table that of a profile's samples.

use protocol::{PLACE_START, RECORD_START, Record};

use super::profile::Profile;
use crate::symbols::Symbols;
use std::mem;

/// A record longer than this is noise; it is handed on as [`Output::Garbled`].
const LONGEST_RECORD: usize = 4096;

/// Digits of an address.
const DIGITS: usize = 16;

/// A piece of what came over the serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Text, in pieces of any size. May hold any byte except [`RECORD_START`].
    Text(&'a [u8]),
    /// A record.
    Record(Record<'a>),
    /// A line marked as a record that is none.
    Garbled(&'a str),
}

/// Splits the byte stream of one machine.
pub struct Splitter<'a> {
    symbols: &'a Symbols,
    state: State,
    profile: Profile,
}

/// What the last bytes began.
#[derive(Debug)]
enum State {
    Text,
    /// A record, without its mark.
    Record(Vec<u8>),
    /// An address of code, without its mark.
    Place(Vec<u8>),
}

impl<'a> Splitter<'a> {
    /// A splitter for what a kernel with these symbols says.
    pub fn new(symbols: &'a Symbols) -> Self {
        Self { symbols, state: State::Text, profile: Profile::default() }
    }

    /// Takes the next bytes, and hands each complete piece to `sink` in order.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(Output<'_>)) {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Text => {
                    let is_mark = |byte: &u8| [RECORD_START, PLACE_START].contains(&char::from(*byte));
                    let end = bytes.iter().position(is_mark).unwrap_or(bytes.len());
                    if end > 0 {
                        sink(Output::Text(&bytes[..end]));
                    }
                    if let Some(&mark) = bytes.get(end) {
                        let is_record = char::from(mark) == RECORD_START;
                        self.state =
                            if is_record { State::Record(Vec::new()) } else { State::Place(Vec::new()) };
                    }
                    end + 1
                }
                State::Record(record) => {
                    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
                    record.extend_from_slice(&bytes[..end]);
                    if end < bytes.len() {
                        self.complete(sink);
                    } else if record.len() > LONGEST_RECORD {
                        self.finish(sink);
                    }
                    end + 1
                }
                State::Place(digits) => {
                    let more = bytes.iter().take(DIGITS - digits.len());
                    let count = more.take_while(|byte| byte.is_ascii_hexdigit()).count();
                    digits.extend_from_slice(&bytes[..count]);
                    if digits.len() == DIGITS || count < bytes.len() {
                        self.complete(sink);
                    }
                    count
                }
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// The stream has ended: hands on what was begun. A record that was cut off may say less than it was to, so it is
    /// none.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Output<'_>)) {
        match mem::replace(&mut self.state, State::Text) {
            State::Record(record) => sink(Output::Garbled(&String::from_utf8_lossy(&record))),
            begun => {
                self.state = begun;
                self.complete(sink);
            }
        }
    }

    /// What was begun is complete: hands that on.
    fn complete(&mut self, sink: &mut dyn FnMut(Output<'_>)) {
        match mem::replace(&mut self.state, State::Text) {
            State::Text => {}
            State::Place(digits) => {
                let digits = String::from_utf8_lossy(&digits);
                let address = u64::from_str_radix(&digits, 16);
                let text = address.map_or(digits.into_owned(), |address| self.symbols.name(address));
                sink(Output::Text(text.as_bytes()));
            }
            State::Record(record) => {
                let line =
                    format!("{RECORD_START}{}", String::from_utf8_lossy(&record).trim_end_matches('\r'));
                let Some(record) = Record::parse(&line) else {
                    return sink(Output::Garbled(&line[RECORD_START.len_utf8()..]));
                };
                sink(Output::Record(record));
                if let Some(table) = self.profile.take(record, self.symbols) {
                    sink(Output::Text(table.as_bytes()));
                }
            }
        }
    }
}

/// Makes text from a serial line fit for files and pipes: carriage returns
/// and the firmware's escape sequences (which clear the screen) are left out.
#[derive(Debug, Default)]
pub struct Plain {
    state: Escape,
}

#[derive(Clone, Copy, Debug, Default)]
enum Escape {
    #[default]
    Outside,
    /// After ESC.
    Begun,
    /// After ESC and `[`.
    Sequence,
}

impl Plain {
    /// Takes the next bytes of text; the result is what remains of them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (_, 0x1b) => Escape::Begun,
                (Escape::Begun, b'[') => Escape::Sequence,
                (Escape::Begun, _) => Escape::Outside,
                (Escape::Sequence, 0x40..=0x7e) => Escape::Outside,
                (Escape::Sequence, _) => Escape::Sequence,
                (Escape::Outside, _) => {
                    if byte != b'\r' {
                        plain.push(byte);
                    }
                    Escape::Outside
                }
            };
        }
        plain
    }
}

/// Puts pieces of text together to lines.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes of text, and hands each complete line to `sink`, without its line end.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.finish(sink);
            }
        }
    }

    /// The text has ended: hands on the line that was begun.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&str)) {
        if !self.begun.is_empty() {
            sink(String::from_utf8_lossy(&self.begun).trim_end_matches(['\r', '\n']));
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let symbols = Symbols::of(None);
        let mut splitter = Splitter::new(&symbols);
        let mut seen = Vec::new();
        let mut sink = |output: Output<'_>| {
            seen.push(match output {
                Output::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
                Output::Record(record) => format!("record {record:?}"),
                Output::Garbled(line) => format!("garbled {line}"),
            });
        };
        for chunk in chunks {
            splitter.push(chunk, &mut sink);
        }
        splitter.finish(&mut sink);
        seen
    }

    #[test]
    fn text_passes_at_once_even_without_a_line_end() {
        assert_eq!(split(&[b"vmalloc", b"> "]), ["text vmalloc", "text > "]);
    }

    #[test]
    fn a_record_is_found_however_the_bytes_are_cut() {
        let stream = b"a\n\x1etests 3\r\nb";
        let whole = split(&[stream]);
        assert_eq!(whole, ["text a\n", "record Tests { count: 3 }", "text b"]);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(split(&bytes), ["text a", "text \n", "record Tests { count: 3 }", "text b"]);
    }

    #[test]
    fn a_record_is_found_in_the_middle_of_a_line() {
        assert_eq!(
            split(&[b"vmalloc> \x1epanic\nreport"]),
            ["text vmalloc> ", "record Panic", "text report"]
        );
    }

    #[test]
    fn an_unknown_record_and_an_unfinished_one_are_reported() {
        assert_eq!(split(&[b"\x1enosuch 1\n"]), ["garbled nosuch 1"]);
        assert_eq!(split(&[b"\x1etests-do"]), ["garbled tests-do"]);
    }

    /// Seen failing with what follows a short address lost.
    #[test]
    fn an_address_of_code_is_named_however_the_bytes_are_cut() {
        let stream = b"at \x1fffffffff80001234, \x1f12 \x1f\x1etests 3\n\x1f0000";
        let whole = split(&[stream]);
        let record = "record Tests { count: 3 }";
        let pieces = [
            "text at ",
            "text 0xffffffff80001234",
            "text , ",
            "text 0x12",
            "text  ",
            "text ",
            record,
            "text 0x0",
        ];
        assert_eq!(whole, pieces);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        let one_by_one: String = split(&bytes).iter().map(|piece| piece.replace("text ", "")).collect();
        assert_eq!(one_by_one, whole.iter().map(|piece| piece.replace("text ", "")).collect::<String>());
    }

    #[test]
    fn digits_behind_an_address_are_text() {
        let pieces = ["text 0xffffffff80001234", "text ab"];
        assert_eq!(split(&[b"\x1fffffffff80001234ab"]), pieces);
        assert_eq!(split(&[b"\x1fffffffff8000", b"1234ab"]), pieces);
    }

    #[test]
    fn a_profile_becomes_a_table() {
        let pieces = split(&[b"\x1esample 10 3\n\x1esample 20 1\n\x1eprofile 1000 0\nb"]);
        assert_eq!(pieces.len(), 5);
        assert!(pieces[3].contains(" 75.0 %  0x10\n") && pieces[4] == "text b", "{pieces:?}");
    }

    /// Seen failing with such a record taken for what it says so far.
    #[test]
    fn a_record_that_is_cut_off_is_none() {
        assert_eq!(split(&[b"\x1etests-done 1"]), ["garbled tests-done 1"]);
        assert_eq!(split(&[b"\x1epassed\n", b"\x1e"]), ["record Passed", "garbled "]);
        let long = [b'a'; LONGEST_RECORD];
        assert!(split(&[b"\x1etest ", &long, b"a\n"])[0].starts_with("garbled test a"));
        let whole = split(&[b"\x1etest ", &long[5..], b"\n"]);
        assert!(
            whole.len() == 1 && whole[0].starts_with("record Test {"),
            "as long as one may be: {whole:?}"
        );
    }

    #[test]
    fn an_endless_record_does_not_eat_all_memory() {
        let noise = vec![b'x'; LONGEST_RECORD + 1];
        assert_eq!(split(&[b"\x1e", &noise]).len(), 1);
    }

    #[test]
    fn escape_sequences_and_carriage_returns_go() {
        let mut plain = Plain::default();
        assert_eq!(plain.push(b"\x1b[2J\x1b[01;01"), b"");
        assert_eq!(plain.push(b"Hone\r\ntwo\x1b=\n"), b"one\ntwo\n");
    }

    #[test]
    fn lines_are_put_together() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut sink = |line: &str| seen.push(line.to_owned());
        lines.push(b"on", &mut sink);
        lines.push(b"e\r\n\ntwo", &mut sink);
        lines.finish(&mut sink);
        assert_eq!(seen, ["one", "", "two"]);
    }
}
