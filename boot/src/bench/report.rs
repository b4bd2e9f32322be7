//! The file with all figures, as JSON, to be kept and compared.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::machine::options::PROGRAM;
use crate::places;
use crate::status::{Doing, Result};

use super::figure::{Figure, Figures};

/// The version of the format; another one where a reader of this one would go wrong.
const FORMAT: u32 = 1;

/// A file that can be written.
#[derive(Debug)]
pub struct Report {
    file: File,
    name: String,
}

#[derive(Serialize)]
struct Content<'a> {
    format: u32,
    /// Of the project; `None` where that cannot be found out.
    commit: Option<String>,
    /// There are changes that no commit has.
    changed: bool,
    qemu: Option<String>,
    /// CPUs of the computer.
    computer_cpus: Option<usize>,
    /// The version that the figures are compared with.
    linux: Option<String>,
    figures: &'a [Figure],
}

impl Report {
    /// Makes the file, or opens it if it is there, whose content stays until the new one is known.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path);
        Ok(Self { file: file.doing(format_args!("write {name}"))?, name })
    }

    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written any more.
    pub fn write(mut self, figures: &Figures, linux: Option<String>) -> Result<()> {
        let written = self.file.write_all(json(figures, linux).as_bytes()).and_then(|()| {
            // What was there may have been longer; pipes have no length.
            let length = std::io::Seek::stream_position(&mut self.file);
            length.map_or(Ok(()), |length| self.file.set_len(length))
        });
        written.doing(format_args!("write {}", self.name))
    }
}

/// The content of the file.
#[must_use]
pub fn json(figures: &Figures, linux: Option<String>) -> String {
    let content = Content {
        format: FORMAT,
        commit: first_line("git", &["rev-parse", "HEAD"]),
        changed: first_line("git", &["status", "--porcelain", "--untracked-files=no"]).is_some(),
        qemu: first_line(PROGRAM, &["--version"]),
        computer_cpus: std::thread::available_parallelism().ok().map(usize::from),
        linux,
        figures: &figures.0,
    };
    let text = serde_json::to_string_pretty(&content).expect("numbers and text can be written");
    text + "\n"
}

/// The first line that a program prints, if it succeeds and prints one.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(places::root()).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = Report::create(Path::new("/nosuch/folder/x.json")).unwrap_err();
        assert!(error.message.contains("/nosuch/folder/x.json"), "{error}");
    }

    /// Seen failing with the file emptied at once, and with its length left.
    #[test]
    fn what_was_there_is_gone_only_when_the_new_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let old = "old ".repeat(1000);
        std::fs::write(&path, &old).unwrap();
        let report = Report::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
        report.write(&Figures::default(), None).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() < old.len());
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}
