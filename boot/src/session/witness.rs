//! Sees one machine from start to end: keeps its log and tells the judge.

use std::env;
use std::fs::File;
use std::io::Write;

use super::end::End;
use crate::places;
use crate::scratch::Scratch;
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
    folder: Scratch,
    /// Something has been seen that nobody has judged.
    unjudged: bool,
}

/// The name of the log in its folder.
const LOG: &str = "machine.log";

impl Witness {
    /// Opens the log, a file that goes to `target/logs` if something is wrong.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn new(purpose: Purpose) -> Result<Self> {
        let folder = Scratch::within(&places::target_folder("logs")?)?;
        let begun = folder.path().join(LOG);
        let log = File::create(&begun).doing(format_args!("make the log {}", begun.display()))?;
        let (judge, lines, plain) = (Judge::new(purpose), Lines::default(), Plain::default());
        Ok(Self { judge, lines, plain, log, folder, unjudged: false })
    }

    /// Writes a line into the log, before what the machine says.
    pub fn begin_log(&mut self, line: &str) {
        // Not by `note`: until the machine has said something, there is nothing to keep.
        let _ = writeln!(self.log, "[{line}]");
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
        match self.folder.keep(LOG) {
            Ok(kept) => {
                let path = env::current_dir().ok().and_then(|here| kept.strip_prefix(here).ok());
                let path = path.unwrap_or(&kept).display();
                eprintln!("boot: all that the machine said is in {path}");
            }
            Err(error) => eprintln!("boot: cannot keep the log of the machine: {error}"),
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
