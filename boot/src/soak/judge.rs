//! Tells what a run came to: by the judgement on its machine, and by the lines of the commands that failed.

use std::fmt;

use crate::session::judge::Verdict;
use crate::status::Status;

/// What a command may fail with where memory is short.
const SHORTAGES: [&str; 4] = ["out of frames", "too little memory", "no memory", "out of address space"];

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All is well.
    Well,
    /// So many commands failed, all because memory ran out, which it may here.
    Short(usize),
    /// The machine has too little memory for the kernel, which says so.
    Unfit,
    /// Something is wrong.
    Failed { status: Status, why: String },
}

/// What commands said.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Commands that the kernel counts as failed.
    pub failed: usize,
    /// Each line of commands that are run at once, and what was printed then.
    commands: Vec<(String, String)>,
}

impl Account {
    /// Commands begin.
    pub fn command(&mut self, text: &str) {
        self.commands.push((text.to_owned(), String::new()));
    }

    /// Something is printed.
    pub fn text(&mut self, text: &[u8]) {
        if let Some((_, printed)) = self.commands.last_mut() {
            printed.push_str(&String::from_utf8_lossy(text));
        }
    }

    /// The lines by which commands say that they failed.
    fn failures(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().flat_map(|(commands, printed)| {
            // A command names itself; one that was not even begun is named with its arguments.
            let whole = || commands.split('&').map(str::trim);
            let names: Vec<&str> =
                whole().filter_map(|command| command.split_whitespace().next()).chain(whole()).collect();
            printed
                .lines()
                .filter(move |line| line.split_once(": ").is_some_and(|(name, _)| names.contains(&name)))
        })
    }

    /// Judges. Where memory `may_run_out` a command may fail for that reason, but for `balance`.
    pub fn outcome(&self, verdict: &Verdict, may_run_out: bool) -> Outcome {
        let failed = |why: String| Outcome::Failed { status: verdict.status, why };
        let complaints = || verdict.complaints.join("; ");
        match verdict.status {
            Status::Ok => Outcome::Well,
            Status::Unfit if may_run_out && complaints().contains("too little memory") => Outcome::Unfit,
            // The kernel ended as it should, and tells of commands that failed.
            Status::Failed if verdict.complaints.is_empty() && self.failed > 0 => {
                let is_shortage = |line: &&str| {
                    !line.starts_with("balance") && SHORTAGES.iter().any(|words| line.contains(words))
                };
                let lines: Vec<&str> = self.failures().collect();
                let wrong = lines.iter().find(|line| !may_run_out || !is_shortage(line));
                match wrong {
                    Some(line) => failed((*line).to_owned()),
                    None if lines.len() == self.failed => Outcome::Short(self.failed),
                    None => {
                        let (said, counted) = (lines.len(), self.failed);
                        failed(format!("{counted} commands failed, and {said} lines say why"))
                    }
                }
            }
            _ => failed(complaints()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("ok"),
            Self::Short(count) => write!(f, "ok, {count} commands ran out of memory"),
            Self::Unfit => f.write_str("ok, too little memory to boot"),
            Self::Failed { why, .. } => write!(f, "FAILED: {why}"),
        }
    }
}
