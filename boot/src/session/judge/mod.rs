//! Turns what happened to a machine into an exit status.
//!
//! Pure: takes the records and lines of the serial line one by one, then how
//! QEMU ended, and gives a [`Verdict`]. A run is good only when its records
//! are complete, their counts add up, and QEMU's exit status agrees. Silence,
//! a reset and a closing line that is missing are failures.

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
    Commands,
    /// Tests: all that were announced must have passed.
    Tests,
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
    commands_done: Option<usize>,
    announced: Option<usize>,
    started: usize,
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
            commands_done: None,
            announced: None,
            started: 0,
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

    /// The test that is running.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// Whether the test that is running must end by a panic.
    #[must_use]
    pub fn expects_panic(&self) -> bool {
        self.expected.is_some()
    }

    /// Takes the next record.
    pub fn record(&mut self, record: Record<'_>) {
        if self.power_off.is_some() {
            self.irregular("went on after it had switched the machine off");
        }
        match record {
            Record::Console => self.console = true,
            Record::Command { .. } => {}
            Record::CommandsDone { failed } => {
                if self.commands_done.replace(failed).is_some() {
                    self.irregular("closed its commands twice");
                }
            }
            Record::Tests { count } => {
                if self.announced.replace(count).is_some() {
                    self.irregular("announced its tests twice");
                }
            }
            Record::Test { name } => {
                if let Some(before) = self.current.replace(name.to_owned()) {
                    self.irregular(format!("started test {name} before {before} had ended"));
                }
                self.started += 1;
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
            Record::TestsDone { passed } => {
                if self.tests_done.replace(passed).is_some() {
                    self.irregular("closed its tests twice");
                }
            }
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
        let mut failed = self.announced.unwrap_or(0).max(self.started).saturating_sub(passed);
        if expected_panic && failed > 0 {
            complaints.push(format!("{failed} announced tests did not run because of the expected panic"));
        }
        let account = if complaints.is_empty() { Status::Ok } else { Status::Failed };
        let status = ending.worse(account);
        if status != Status::Ok && self.purpose == Purpose::Tests {
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
            How::EndedByUser => return Status::Ok,
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
            Purpose::Commands => match self.commands_done {
                Some(0) => complaints.push("the kernel ended as failed, but counts no failed command".into()),
                Some(_) => {}
                None if self.console => {
                    complaints.push("the kernel ended as failed before its commands were done".into());
                }
                // What it said then is shown nowhere else.
                None => complaints
                    .push(format!("the kernel ended before its console was ready: {}", self.last_line)),
            },
            Purpose::Tests => {
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

    /// The kernel says that all succeeded: its records must agree.
    fn check_closing(&self, complaints: &mut Vec<String>) {
        let mut add = |complaint: String| complaints.push(complaint);
        if self.purpose != Purpose::Tests && !self.console {
            add("the kernel ended before its console was ready".into());
        }
        match self.purpose {
            Purpose::Console => {}
            Purpose::Commands => match self.commands_done {
                None => add("the kernel ended before its commands were done".into()),
                Some(0) => {}
                Some(failed) => add(format!("the kernel ended as succeeded, but {failed} commands failed")),
            },
            Purpose::Tests => {
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
