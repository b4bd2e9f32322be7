//! The lines of a trace's file, which may be compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::status::{Doing, Error, Result};

/// Bytes of a line that are read at most: those of traces have a hundred or two.
const LONGEST: u64 = 1 << 16;

/// Files that are no text, by their first bytes, and what makes text of them.
const OTHERS: [(&[u8], &str); 3] = [
    (b"\x17\x08\x44tracing", "trace-cmd's own format: trace-cmd report makes text of it"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: zstd -d decompresses it"),
    (b"PERFILE2", "perf's own format, of which perf script makes text"),
];

/// A trace's lines, one after another.
pub struct Source {
    name: String,
    text: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
}

impl Source {
    /// Opens a file of text, as it is or compressed by xz or gzip.
    ///
    /// # Errors
    /// It cannot be read, or it is empty, or of a kind that is known to be another.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut file = BufReader::new(File::open(path).doing(format_args!("read {name}"))?);
        let begin = file.fill_buf().doing(format_args!("read {name}"))?;
        if begin.is_empty() {
            return Err(Error::failed(format!("{name}: is empty")));
        }
        if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| begin.starts_with(magic)) {
            return Err(Error::failed(format!("{name}: {what}")));
        }
        let text: Box<dyn BufRead> = if begin.starts_with(b"\xfd7zXZ\0") {
            Box::new(BufReader::new(XzReader::new(file, true)))
        } else if begin.starts_with(b"\x1f\x8b") {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Ok(Self { name, text, line: Vec::new(), number: 0 })
    }

    /// Reads lines from memory.
    #[cfg(test)]
    pub fn of(name: &str, text: Vec<u8>) -> Self {
        Self { name: name.into(), text: Box::new(io::Cursor::new(text)), line: Vec::new(), number: 0 }
    }

    /// Returns the next line, without its end; `None` behind the last.
    ///
    /// # Errors
    /// The file cannot be read, or is cut: its compression or its last line does not end.
    pub fn next_line(&mut self) -> Result<Option<String>> {
        self.line.clear();
        let read = (&mut self.text).take(LONGEST).read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.wrong(format_args!("the file is cut behind this line")));
            }
            Err(error) => return Err(self.wrong(format_args!("cannot go on behind this line: {error}"))),
        }
        self.number += 1;
        match self.line.pop() {
            Some(b'\n') => {}
            _ if self.line.len() as u64 + 1 >= LONGEST => {
                return Err(self.wrong(format_args!("is longer than {LONGEST} bytes: this is no trace")));
            }
            _ => return Err(self.wrong(format_args!("the file is cut within this line"))),
        }
        Ok(Some(String::from_utf8_lossy(&self.line).into_owned()))
    }

    /// Returns an error that tells the file, and the line that was read last.
    pub fn wrong(&self, what: std::fmt::Arguments<'_>) -> Error {
        Error::failed(format!("{}: line {}: {what}", self.name, self.number))
    }

    /// Returns an error that tells the file.
    pub fn unfit(&self, what: &str) -> Error {
        Error::failed(format!("{}: {what}", self.name))
    }
}
