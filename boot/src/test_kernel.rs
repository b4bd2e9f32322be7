//! Runs one test kernel and shows its tests.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use protocol::Record;

use crate::judge::{Purpose, Verdict};
use crate::qemu::{Machine, Orders};
use crate::serial::Output;
use crate::session;
use crate::status::{Result, Status};
use crate::witness::Witness;
use crate::{cargo, cli, image};

/// Runs the test kernel `elf`. Its text goes to standard output from the
/// announcement of its tests on, the report of an expected panic excepted.
///
/// # Errors
/// If the machine cannot be started.
pub fn run(elf: &Path, options: &cli::Machine, filter: Option<&str>) -> Result<(Verdict, Duration)> {
    let image = image::of(elf, &cargo::target_folder("images")?)?;
    let orders =
        Orders { parameters: options.append.clone(), commands: None, filter: filter.map(str::to_owned) };
    let machine = Machine::new(options, image, &orders)?.announced();
    let mut witness = Witness::new(Purpose::Tests)?;
    let mut shown = Shown::default();
    let end = session::run(machine.command(), None, machine.limit(), &mut |output| {
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
