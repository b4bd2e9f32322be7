//! Tells test kernels from consoles, runs one and shows its tests.

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use object::{Object, ObjectSection};
use protocol::Record;

use crate::machine::image::{self, Image};
use crate::machine::options::Options;
use crate::machine::qemu::Orders;
use crate::session;
use crate::session::judge::{Purpose, Verdict};
use crate::session::serial::Output;
use crate::session::witness::Witness;
use crate::status::{Doing, Result, Status};
use crate::{machine, places};

/// What a test kernel says of its tests before it is booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tests {
    /// Empty if there are tests of many names.
    only: String,
}

impl Tests {
    /// The tests of the program `elf`; `None` if it is no test kernel. The program itself says so, by
    /// [`protocol::test_kernel`], wherever cargo puts it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(elf: &Path) -> Result<Option<Self>> {
        let content = fs::read(elf).doing(format_args!("read {}", elf.display()))?;
        // What is no ELF is no test kernel; the boot loader says more of it.
        let file = object::File::parse(&*content).ok();
        let section = file.as_ref().and_then(|file| file.section_by_name(protocol::TEST_NOTE_SECTION));
        let note = section.and_then(|section| section.data().ok());
        Ok(note.and_then(protocol::read_test_note).map(|only| Self { only: only.to_owned() }))
    }

    /// Whether a filter may let one of them through. If there are many only the kernel itself can tell.
    #[must_use]
    pub fn may_run(&self, filter: Option<&str>) -> bool {
        self.only.is_empty() || filter.is_none_or(|filter| self.only.contains(filter))
    }
}

/// The disk image of the test kernel `elf`, made if it is not there yet.
///
/// # Errors
/// If it cannot be made; of status [`Status::Unfit`] if the computer lacks the programs.
pub fn image(elf: &Path) -> Result<Image> {
    image::of(elf, &places::target_folder("images")?)
}

/// Runs the test kernel `elf`. Its text goes to standard output from the
/// announcement of its tests on, the report of an expected panic excepted.
///
/// # Errors
/// If the machine cannot be started.
pub fn run(elf: &Path, options: &Options, filter: Option<&str>) -> Result<(Verdict, Duration)> {
    let image = image(elf)?;
    let orders =
        Orders { parameters: options.append.clone(), filter: filter.map(str::to_owned), ..Orders::default() };
    let machine = machine::prepare(options, image, &orders)?.announced(elf);
    let mut witness = Witness::new(Purpose::Tests { filtered: filter.is_some() })?;
    let mut shown = Shown::default();
    let end = session::run(machine.program(), None, machine.limit(), &mut |output| {
        let text = witness.see(output);
        match output {
            Output::Record(Record::Tests { .. }) => shown.begun = true,
            Output::Record(Record::Test { name }) => shown.test = name.to_owned(),
            Output::Record(Record::Panic) => shown.held = witness.judge.expects_panic(),
            _ => {}
        }
        shown.text(&text);
        ControlFlow::Continue(())
    })?;
    let verdict = shown.close(witness.close(&end));
    Ok((verdict, end.took))
}

/// What has been shown of a test kernel's text.
#[derive(Debug, Default)]
struct Shown {
    /// The tests have been announced.
    begun: bool,
    /// The test announced last.
    test: String,
    /// The last line shown is not complete.
    in_line: bool,
    /// The report of an expected panic has begun.
    held: bool,
    report: Vec<u8>,
}

impl Shown {
    fn text(&mut self, text: &[u8]) {
        if self.held {
            self.report.extend_from_slice(text);
        } else if self.begun && !text.is_empty() {
            // Standard output that is gone must not fail the tests.
            let _ = io::stdout().write_all(text).and_then(|()| io::stdout().flush());
            self.in_line = !text.ends_with(b"\n");
        }
    }

    fn close(mut self, verdict: Verdict) -> Verdict {
        if self.held && verdict.status == Status::Ok {
            let name = if self.in_line { String::new() } else { format!("test {} ... ", self.test) };
            self.held = false;
            self.text(format!("{name}ok (panicked as expected)\n").as_bytes());
        } else if self.held {
            self.held = false;
            let report = std::mem::take(&mut self.report);
            self.text(&report);
        }
        if self.in_line {
            self.text(b"\n");
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_of_one_test_is_booted_for_that_alone() {
        let one = Tests { only: "a_panic_is_reported".into() };
        assert!(one.may_run(None) && one.may_run(Some("panic")) && one.may_run(Some("")));
        assert!(!one.may_run(Some("frames")));
        assert!(Tests { only: String::new() }.may_run(Some("frames")));
    }

    #[test]
    fn what_has_no_note_is_no_test_kernel() {
        let this = std::env::current_exe().unwrap();
        assert_eq!(Tests::of(&this).unwrap(), None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deps");
        fs::write(&file, "any kernel").unwrap();
        assert_eq!(Tests::of(&file).unwrap(), None);
        assert!(Tests::of(&folder.path().join("nosuch")).unwrap_err().message.contains("nosuch"));
    }
}
