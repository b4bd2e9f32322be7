//! The file with all figures, as JSON, to be kept and compared.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::machine::options::PROGRAM;
use crate::places;
use crate::status::{Doing, Error, Result};

use super::experiments::Experiment;
use super::experiments::history::History;
use super::experiments::latency::Latency;
use super::experiments::replayed::Replayed;
use super::figure::Figures;

/// The version of the format; another one where a reader of this one would go wrong.
const FORMAT: u32 = 1;

/// All that one run measured, and where and when: the content of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The version of the format.
    pub format: u32,
    /// The project's commit; `None` where that cannot be found out.
    pub commit: Option<String>,
    /// There are changes that no commit has.
    pub changed: bool,
    /// The day, as `2026-11-28`; older files have none.
    #[serde(default)]
    pub date: Option<String>,
    /// QEMU's version.
    pub qemu: Option<String>,
    /// CPUs of the computer.
    pub computer_cpus: Option<usize>,
    /// The version that the figures are compared with.
    pub linux: Option<String>,
    /// Numbers.
    pub figures: Figures,
    /// What `history` gave, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// What `latency` gave, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Experiment<Latency>>,
    /// What a replay of a trace gave, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
}

impl Measured {
    /// What was measured just now, on this computer.
    #[must_use]
    pub fn now(figures: Figures, linux: Option<String>) -> Self {
        Self {
            format: FORMAT,
            commit: first_line("git", &["rev-parse", "HEAD"]),
            changed: first_line("git", &["status", "--porcelain", "--untracked-files=no"]).is_some(),
            date: first_line("date", &["--utc", "+%Y-%m-%d"]),
            qemu: first_line(PROGRAM, &["--version"]),
            computer_cpus: std::thread::available_parallelism().ok().map(usize::from),
            linux,
            figures,
            history: None,
            latency: None,
            replayed: None,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It is not there, or was not written by this version.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = fs::read_to_string(path).doing(format_args!("read {name}"))?;
        let head: Head = serde_json::from_str(&text).doing(format_args!("understand {name}"))?;
        if head.format != FORMAT {
            let format = head.format;
            return Err(Error::failed(format!("{name}: its format is {format}, not {FORMAT}")));
        }
        serde_json::from_str(&text).doing(format_args!("understand {name}"))
    }

    /// The content of the file.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and text can be written") + "\n"
    }

    /// Whether something went wrong.
    #[must_use]
    pub fn any_failed(&self) -> bool {
        self.figures.any_failed()
            || self.history.as_ref().is_some_and(|history| history.failures().next().is_some())
            || self.latency.as_ref().is_some_and(|latency| latency.failed().is_some())
    }
}

/// What all formats have.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// A file that can be written.
#[derive(Debug)]
pub struct Kept {
    file: File,
    name: String,
}

impl Kept {
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
    pub fn write(mut self, content: &str) -> Result<()> {
        let written = self.file.write_all(content.as_bytes()).and_then(|()| {
            // What was there may have been longer; pipes have no length.
            let length = std::io::Seek::stream_position(&mut self.file);
            length.map_or(Ok(()), |length| self.file.set_len(length))
        });
        written.doing(format_args!("write {}", self.name))
    }
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
        let error = Kept::create(Path::new("/nosuch/folder/x.json")).unwrap_err();
        assert!(error.message.contains("/nosuch/folder/x.json"), "{error}");
    }

    /// Seen failing with the file emptied at once, and with its length left.
    #[test]
    fn what_was_there_is_gone_only_when_the_new_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let old = "old ".repeat(1000);
        std::fs::write(&path, &old).unwrap();
        let kept = Kept::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
        kept.write(&Measured::now(Figures::default(), None).json()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() < old.len());
        assert_eq!(Measured::read(&path).unwrap().json(), text);
    }

    /// Figures that are kept are to be read by later versions, too.
    #[test]
    fn what_is_kept_with_the_sources_can_be_read() {
        let mut names = 0;
        for file in fs::read_dir(places::root().join("bench/results")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let measured = Measured::read(&path).unwrap();
                assert!(!measured.any_failed(), "{}", path.display());
                names += 1;
            }
        }
        assert!(names > 3);
    }

    #[test]
    fn what_this_version_did_not_write_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let figure = r#"{"part": "cases", "system": "here", "case": 3, "name": "x", "nr_pages": 1, "live_areas": 0,
            "zeroed": false, "accelerator": "tcg", "cpus": 1, "workers": 1, "memory": "2G", "profile": "release",
            "loops": [1], "rounds": 1, "unit": "loops", "recorded": false, "value": 1}"#;
        let unknown = format!(r#"{{"format": 1, "changed": false, "figures": [{figure}]}}"#);
        for (text, why) in [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"format": 2}"#, "its format is 2, not 1"),
            (r#"{"format": 1}"#, "missing field"),
            (&unknown, "no case 3 is x"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Measured::read(&path).unwrap_err().message;
            assert!(error.contains(why) && error.contains("x.json") && !error.contains('\n'), "{error}");
        }
    }
}
