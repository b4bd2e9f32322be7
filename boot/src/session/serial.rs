//! Tells text from records on the serial line, as the bytes come in.
//!
//! Text is handed on at once, not a line at a time: a prompt has no line end,
//! and what the user types is echoed byte by byte.

use protocol::{RECORD_START, Record};

/// A record longer than this is noise; it is handed on as [`Output::Garbled`].
const LONGEST_RECORD: usize = 4096;

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
#[derive(Debug, Default)]
pub struct Splitter {
    /// The record that has begun, without its mark.
    record: Option<Vec<u8>>,
}

impl Splitter {
    /// Takes the next bytes, and hands each complete piece to `sink` in order.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(Output<'_>)) {
        while !bytes.is_empty() {
            match &mut self.record {
                None => {
                    let end = position(bytes, RECORD_START as u8);
                    if end > 0 {
                        sink(Output::Text(&bytes[..end]));
                    }
                    if end < bytes.len() {
                        self.record = Some(Vec::new());
                    }
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                }
                Some(record) => {
                    let end = position(bytes, b'\n');
                    record.extend_from_slice(&bytes[..end]);
                    if end < bytes.len() || record.len() > LONGEST_RECORD {
                        self.finish(sink);
                    }
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                }
            }
        }
    }

    /// The stream has ended: hands on what was begun.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Output<'_>)) {
        let Some(record) = self.record.take() else { return };
        let line = format!("{RECORD_START}{}", String::from_utf8_lossy(&record).trim_end_matches('\r'));
        match Record::parse(&line) {
            Some(record) => sink(Output::Record(record)),
            None => sink(Output::Garbled(&line[RECORD_START.len_utf8()..])),
        }
    }
}

/// Where `byte` first is, or the length.
fn position(bytes: &[u8], byte: u8) -> usize {
    bytes.iter().position(|&b| b == byte).unwrap_or(bytes.len())
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
        let mut splitter = Splitter::default();
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
