//! Sees one machine from start to end: keeps its log and tells the judge.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::end::End;
use crate::places;
use crate::scratch::{self, Scratch};
use crate::session::judge::{Judge, Purpose, Verdict};
use crate::session::serial::{Lines, Output, Plain};
use crate::status::{Doing, Result, Status};

/// Keeps the log of one machine and tells the judge what it sees.
#[derive(Debug)]
pub struct Witness {
    /// What has been seen.
    pub judge: Judge,
    lines: Lines,
    plain: Plain,
    log: File,
    /// Where the log is until something is wrong.
    begun: PathBuf,
    /// Where it is kept then.
    kept: PathBuf,
    /// Something has been seen that nobody has judged.
    unjudged: bool,
    _folder: Scratch,
}

impl Witness {
    /// Opens the log, a file that goes to `target/logs` if something is wrong.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn new(purpose: Purpose) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let logs = places::target_folder("logs")?;
        let folder = Scratch::within(&logs)?;
        let name = format!("machine-{}-{number}.{}", std::process::id(), scratch::LOG);
        let (begun, kept) = (folder.path().join(&name), logs.join(name));
        let log = File::create(&begun).doing(format_args!("make the log {}", begun.display()))?;
        let (judge, lines, plain) = (Judge::new(purpose), Lines::default(), Plain::default());
        Ok(Self { judge, lines, plain, log, begun, kept, unjudged: false, _folder: folder })
    }

    /// Sees the next piece. Gives its text, without what only a terminal needs; empty for a record.
    pub fn see(&mut self, output: Output<'_>) -> Vec<u8> {
        let judge = &mut self.judge;
        match output {
            Output::Text(text) => {
                let text = self.plain.push(text);
                self.lines.push(&text, &mut |line| judge.line(line));
                self.note(&text);
                return text;
            }
            Output::Record(record) => {
                self.lines.finish(&mut |line| judge.line(line));
                judge.record(record);
                self.note(
                    format!("[{}]\n", record.to_string().trim_start_matches(protocol::RECORD_START))
                        .as_bytes(),
                );
            }
            Output::Garbled(line) => {
                judge.garbled(line);
                self.note(format!("[garbled: {line}]\n").as_bytes());
            }
        }
        Vec::new()
    }

    /// Judges, without a word.
    #[must_use]
    pub fn verdict(&mut self, end: &End) -> Verdict {
        let judge = &mut self.judge;
        self.lines.finish(&mut |line| judge.line(line));
        self.note(end.stderr.as_bytes());
        self.unjudged = false;
        self.judge.verdict(end.how)
    }

    /// Judges, prints on standard error what is wrong, and keeps the log only then.
    pub fn close(mut self, end: &End) -> Verdict {
        let verdict = self.verdict(end);
        if verdict.status != Status::Ok {
            self.complain(&verdict, end);
        }
        verdict
    }

    /// Prints on standard error what is wrong, and keeps the log.
    pub fn complain(self, verdict: &Verdict, end: &End) {
        eprint!("{}", end.stderr);
        for complaint in &verdict.complaints {
            eprintln!("boot: {complaint}");
        }
        self.keep();
    }

    fn keep(&self) {
        match fs::rename(&self.begun, &self.kept) {
            Ok(()) => {
                let path = env::current_dir().ok().and_then(|here| self.kept.strip_prefix(here).ok());
                let path = path.unwrap_or(&self.kept).display();
                eprintln!("boot: all that the machine said is in {path}");
            }
            Err(error) => eprintln!("boot: cannot keep the log {}: {error}", self.kept.display()),
        }
    }

    /// A log that cannot be written must not end the machine it tells of.
    fn note(&mut self, text: &[u8]) {
        self.unjudged = true;
        let _ = self.log.write_all(text);
    }
}

/// Keeps the log of a run that a signal ended, perhaps because the machine hung.
impl Drop for Witness {
    fn drop(&mut self) {
        if self.unjudged {
            self.keep();
        }
    }
}
