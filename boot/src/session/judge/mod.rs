//! Turns what happened to a machine into an exit status.
//!
//! Pure: takes the records and lines of the serial line one by one, then how
//! QEMU ended, and gives a [`Verdict`]. A run is good only when its records
//! are complete, their counts add up, and QEMU's exit status agrees. Silence,
//! a reset and a closing line that is missing are failures. `TESTING.md` has a
//! table of the ways in which a run may lie.

use std::collections::HashSet;

use protocol::{Exit, Record};

use super::end::How;
use crate::status::Status;

/// Why the kernel's last word may not become QEMU's exit status.
const NO_EXIT_DEVICE: &str = "perhaps it has no isa-debug-exit";

/// What the machine was started for, and so what a complete account of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An interactive console: it must have become ready.
    Console,
    /// Console commands: all must have run.
    Commands {
        /// Lines of commands, as [`protocol::commands`] counts them.
        count: usize,
    },
    /// Tests: all that were announced must have passed.
    Tests {
        /// The user chose them by a filter, so there may be none.
        filtered: bool,
    },
}

impl Purpose {
    /// The purpose of a machine that is handed these commands.
    #[must_use]
    pub fn commands(line: &str) -> Self {
        Self::Commands { count: protocol::commands(line).count() }
    }
}

/// The judgement on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The exit status.
    pub status: Status,
    /// What is wrong, one line each; empty if all is well.
    pub complaints: Vec<String>,
    /// Tests that passed, one that panicked as expected included.
    pub passed: usize,
    /// Tests that did not, those that never ran included.
    pub failed: usize,
    /// The user asked for a reboot.
    pub again: bool,
}

/// What has been seen of one machine.
#[derive(Debug)]
pub struct Judge {
    purpose: Purpose,
    console: bool,
    /// Lines of commands that have begun.
    commands: usize,
    /// The user's commands switch the machine off, perhaps before the last of them.
    may_end_early: bool,
    commands_done: Option<usize>,
    announced: Option<usize>,
    /// Tests that have begun.
    started: HashSet<String>,
    passed: usize,
    /// The test that has begun and not yet passed.
    current: Option<String>,
    tests_done: Option<usize>,
    expected: Option<String>,
    panicked: bool,
    /// A line of the panic's report has the expected text.
    matched: bool,
    reboot: bool,
    /// The exit status that the kernel would have ended with, had it a device for it.
    power_off: Option<i32>,
    /// The last line that is not blank.
    last_line: String,
    irregular: Vec<String>,
}

impl Judge {
    /// Nothing has been seen yet.
    #[must_use]
    pub fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            console: false,
            commands: 0,
            may_end_early: false,
            commands_done: None,
            announced: None,
            started: HashSet::new(),
            passed: 0,
            current: None,
            tests_done: None,
            expected: None,
            panicked: false,
            matched: false,
            reboot: false,
            power_off: None,
            last_line: String::new(),
            irregular: Vec::new(),
        }
    }

    /// Whether the test that is running must end by a panic.
    #[must_use]
    pub fn expects_panic(&self) -> bool {
        self.expected.is_some()
    }

    /// Takes the next record.
    pub fn record(&mut self, record: Record<'_>) {
        self.check_order(record);
        match record {
            Record::Console => self.console = true,
            Record::Command { text } => {
                self.commands += 1;
                self.may_end_early |= text.split('&').any(|command| command.trim() == "poweroff");
            }
            Record::CommandsDone { failed } => self.commands_done = Some(failed),
            Record::Tests { count } => self.announced = Some(count),
            Record::Test { name } => {
                if let Some(before) = self.current.replace(name.to_owned()) {
                    self.irregular(format!("started test {name} before {before} had ended"));
                }
                if !self.started.insert(name.to_owned()) {
                    self.irregular(format!("started test {name} twice"));
                }
                self.expected = None;
            }
            Record::Passed => {
                match self.current.take() {
                    None => self.irregular("passed a test that had not started"),
                    Some(name) if self.expected.is_some() => {
                        self.irregular(format!("passed test {name}, which had to panic"));
                    }
                    Some(_) => self.passed += 1,
                }
                self.expected = None;
            }
            Record::TestsDone { passed } => self.tests_done = Some(passed),
            Record::ExpectPanic { text } => match self.current {
                None => self.irregular("expects a panic outside a test"),
                Some(_) => self.expected = Some(text.to_owned()),
            },
            Record::Sample { .. } | Record::Profile { .. } => {}
            Record::Panic => self.panicked = true,
            Record::Reboot => self.reboot = true,
            Record::PowerOff { status } => self.power_off = Some(status),
        }
    }

    /// Each record has its time, and its kind of machine.
    fn check_order(&mut self, record: Record<'_>) {
        let is_end = matches!(record, Record::Panic | Record::Reboot | Record::PowerOff { .. });
        if self.power_off.is_some() {
            self.irregular("went on after it had switched the machine off");
        } else if self.is_closed() && !is_end {
            self.irregular("went on after it had closed its account");
        }
        let tests = matches!(self.purpose, Purpose::Tests { .. });
        match record {
            Record::Console | Record::CommandsDone { .. } if tests => {
                self.irregular("has a console, where there were to be tests");
            }
            Record::Tests { .. } | Record::TestsDone { .. } | Record::ExpectPanic { .. } if !tests => {
                self.irregular("has tests, where there were to be none");
            }
            // A machine that was reset begins anew.
            Record::Console if self.console => self.irregular("began its console twice"),
            Record::Tests { .. } if self.announced.is_some() => self.irregular("announced its tests twice"),
            Record::Test { name } if self.announced.is_none() => {
                self.irregular(format!("started test {name} before it had announced any"));
            }
            Record::ExpectPanic { .. } if self.expected.is_some() => {
                self.irregular("expects two panics in one test");
            }
            Record::Panic if self.panicked => self.irregular("panicked twice"),
            _ => {}
        }
    }

    /// Takes a line marked as a record that is none.
    pub fn garbled(&mut self, line: &str) {
        self.irregular(format!("sent a record that is none: {line:?}"));
    }

    /// Takes the next line of text.
    pub fn line(&mut self, line: &str) {
        if let Some(text) = &self.expected
            && self.panicked
            && line.contains(text.as_str())
        {
            self.matched = true;
        }
        if !line.trim().is_empty() {
            self.last_line = line.trim().to_owned();
        }
    }

    /// Judges. `how` is how QEMU ended.
    #[must_use]
    pub fn verdict(&self, how: How) -> Verdict {
        let mut complaints = self.irregular.clone();
        // A machine that its firmware switched off has ended as the kernel said.
        let how = match (how, self.power_off) {
            (How::Exited(0), Some(status)) => How::Exited(status),
            (how, _) => how,
        };
        let expected_panic = self.panicked && self.matched && how == How::Exited(Exit::Panic.qemu_status());
        let ending = if expected_panic { Status::Ok } else { self.ending(how, &mut complaints) };
        let again =
            self.reboot && how == How::Exited(0) && self.purpose == Purpose::Console && !self.panicked;
        let ended_well = ending == Status::Ok && how != How::EndedByUser && !again && !expected_panic;
        if ended_well {
            self.check_closing(&mut complaints);
        }
        let passed = self.passed + usize::from(expected_panic);
        let mut failed = self.announced.unwrap_or(0).max(self.started.len()).saturating_sub(passed);
        if expected_panic && failed > 0 {
            complaints.push(format!("{failed} announced tests did not run because of the expected panic"));
        }
        let account = if complaints.is_empty() { Status::Ok } else { Status::Failed };
        let status = ending.worse(account);
        if status != Status::Ok && matches!(self.purpose, Purpose::Tests { .. }) {
            failed = failed.max(1);
        }
        Verdict { status, complaints, passed, failed, again }
    }

    /// What the end of QEMU says by itself.
    fn ending(&self, how: How, complaints: &mut Vec<String>) -> Status {
        let during = match &self.current {
            Some(name) => format!(" in test {name}"),
            None => String::new(),
        };
        let (status, complaint) = match how {
            How::EndedByUser if self.purpose == Purpose::Console => return Status::Ok,
            How::EndedByUser => (Status::Failed, format!("the machine was ended{during}")),
            How::TimedOut => (Status::TimedOut, format!("timed out{during}")),
            How::NotEnded if self.panicked => {
                (Status::Crashed, format!("the kernel panicked{during}, and the machine did not end"))
            }
            How::NotEnded => {
                let said = if self.reboot { "reset the machine" } else { "closed its account" };
                let complaint = format!("the kernel {said}, but the machine did not end; {NO_EXIT_DEVICE}");
                (Status::Unfit, complaint)
            }
            How::Signalled(signal) => (Status::Failed, format!("QEMU was killed by signal {signal}{during}")),
            How::Exited(0) if self.panicked => {
                (Status::Crashed, format!("the kernel panicked{during}, then reset"))
            }
            How::Exited(0) if self.reboot && self.purpose == Purpose::Console => return Status::Ok,
            How::Exited(0) if self.reboot => (Status::Failed, format!("the kernel was rebooted{during}")),
            How::Exited(0) if self.is_closed() => {
                let complaint =
                    "the kernel closed its account, but the machine ended without its exit status";
                (Status::Crashed, format!("{complaint} (triple fault?); {NO_EXIT_DEVICE}"))
            }
            How::Exited(0) if !self.console && self.announced.is_none() => {
                (Status::Crashed, "the machine was reset before its kernel was ready (triple fault?)".into())
            }
            How::Exited(0) => (
                Status::Crashed,
                format!("the kernel reset the machine without a word{during} (triple fault?)"),
            ),
            How::Exited(number) => match Exit::from_qemu_status(number) {
                Some(Exit::Panic) => (Status::Crashed, self.about_panic(&during)),
                Some(_) if self.panicked => {
                    (Status::Crashed, format!("the kernel panicked{during}, yet did not end as panicked"))
                }
                Some(Exit::Success) => return Status::Ok,
                Some(Exit::Failure) => return self.about_failure(complaints),
                Some(Exit::Unfit) => (Status::Unfit, format!("the machine is unfit: {}", self.last_line)),
                None if self.is_silent() => {
                    (Status::Unfit, format!("QEMU could not start the machine (exit status {number})"))
                }
                None => (Status::Failed, format!("QEMU failed with exit status {number}{during}")),
            },
        };
        complaints.push(complaint);
        status
    }

    /// The kernel has said all that it had to say of its commands or tests.
    fn is_closed(&self) -> bool {
        self.commands_done.is_some() || self.tests_done.is_some()
    }

    /// Nothing came over the serial line, not even from the firmware.
    fn is_silent(&self) -> bool {
        self.last_line.is_empty() && !self.console && self.announced.is_none() && !self.panicked
    }

    fn about_panic(&self, during: &str) -> String {
        match &self.expected {
            Some(_) if !self.panicked => {
                format!("the kernel ended as panicked{during}, but without a report")
            }
            Some(text) => format!("the kernel panicked{during}, but its report lacks {text:?}"),
            None => format!("the kernel panicked{during}"),
        }
    }

    /// The kernel says that something failed: its records must say what.
    fn about_failure(&self, complaints: &mut Vec<String>) -> Status {
        match self.purpose {
            Purpose::Commands { count } => match self.commands_done {
                Some(0) => complaints.push("the kernel ended as failed, but counts no failed command".into()),
                Some(_) => complaints.extend(self.left_out(count)),
                None if self.console => {
                    complaints.push("the kernel ended as failed before its commands were done".into());
                }
                // What it said then is shown nowhere else.
                None => complaints
                    .push(format!("the kernel ended before its console was ready: {}", self.last_line)),
            },
            Purpose::Tests { .. } => {
                let announced = self.announced.unwrap_or(0);
                match announced.saturating_sub(self.passed) {
                    0 => complaints.push("the kernel ended as failed, but its tests passed".into()),
                    failed => complaints.push(format!("{failed} of {announced} tests failed")),
                }
            }
            Purpose::Console => complaints.push("the kernel ended as failed".into()),
        }
        Status::Failed
    }

    /// Says how many of the user's commands ran, if some did not.
    fn left_out(&self, count: usize) -> Option<String> {
        let is_short = self.commands < count && !self.may_end_early;
        is_short.then(|| format!("the kernel ran {} of {count} commands", self.commands))
    }

    /// The kernel says that all succeeded: its records must agree.
    fn check_closing(&self, complaints: &mut Vec<String>) {
        let mut add = |complaint: String| complaints.push(complaint);
        if !matches!(self.purpose, Purpose::Tests { .. }) && !self.console {
            add("the kernel ended before its console was ready".into());
        }
        match self.purpose {
            Purpose::Console => {}
            Purpose::Commands { count } => match self.commands_done {
                None => add("the kernel ended before its commands were done".into()),
                Some(0) => complaints.extend(self.left_out(count)),
                Some(failed) => add(format!("the kernel ended as succeeded, but {failed} commands failed")),
            },
            Purpose::Tests { filtered } => {
                let Some(announced) = self.announced else {
                    return add("the kernel ended without announcing its tests".into());
                };
                if let Some(name) = &self.current {
                    add(format!("the kernel ended inside test {name}"));
                }
                match self.tests_done {
                    None => add("the kernel ended before its tests were done".into()),
                    Some(done) if done != self.passed => {
                        add(format!(
                            "the kernel counts {done} tests passed, of which {} were seen",
                            self.passed
                        ));
                    }
                    Some(_) => {}
                }
                if announced == 0 && !filtered {
                    add("the kernel has no tests".into());
                }
                if self.passed != announced {
                    add(format!("{announced} tests were announced, {} passed", self.passed));
                }
            }
        }
    }

    fn irregular(&mut self, what: impl Into<String>) {
        self.irregular.push(format!("the kernel {}", what.into()));
    }
}

#[cfg(test)]
mod tests;
