//! Sees one machine from start to end: keeps its log and tells the judge.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cargo;
use crate::judge::{Judge, Purpose, Verdict};
use crate::serial::{Lines, Output, Plain};
use crate::session::End;
use crate::status::{Doing, Result, Status};

/// Keeps the log of one machine and tells the judge what it sees.
#[derive(Debug)]
pub struct Witness {
    /// What has been seen.
    pub judge: Judge,
    lines: Lines,
    plain: Plain,
    log: File,
    path: PathBuf,
    /// Something is wrong, and the log tells of it.
    keep: bool,
}

impl Drop for Witness {
    fn drop(&mut self) {
        if !self.keep {
            // Not worth a word if it is gone already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Witness {
    /// Opens the log, a file in `target/logs`.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn new(purpose: Purpose) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = cargo::target_folder("logs")?.join(format!("machine-{}-{number}.log", std::process::id()));
        let log = File::create(&path).doing(format_args!("make the log {}", path.display()))?;
        let judge = Judge::new(purpose);
        Ok(Self { judge, lines: Lines::default(), plain: Plain::default(), log, path, keep: false })
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
    pub fn complain(mut self, verdict: &Verdict, end: &End) {
        self.keep = true;
        eprint!("{}", end.stderr);
        for complaint in &verdict.complaints {
            eprintln!("boot: {complaint}");
        }
        let path = env::current_dir().ok().and_then(|here| self.path.strip_prefix(here).ok());
        eprintln!("boot: all that the machine said is in {}", path.unwrap_or(&self.path).display());
    }

    /// A log that cannot be written must not end the machine it tells of.
    fn note(&mut self, text: &[u8]) {
        let _ = self.log.write_all(text);
    }
}
