//! Linux with its own `test_vmalloc`, on the same machines.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::child;
use crate::machine::accelerator::Accelerator;
use crate::machine::options::{Accel, Options};
use crate::machine::qemu;
use crate::places;
use crate::session::serial::{Output, Plain};
use crate::session::{self, How};
use crate::status::{Doing, Error, Result};

use super::ours::Reply;
use super::summary;

/// What builds it, and the status by which that says that this computer cannot.
const BUILD: &str = "bench/linux/build.sh";
const UNFIT: i32 = 4;

/// Boots of which one must end well.
const BOOTS: usize = 3;

/// What Linux is told besides the test's parameters. Four levels of page tables, as here.
const PARAMETERS: &str = "console=ttyS0 mitigations=off no5lvl panic=-1";
/// What it is told where instructions are counted: it would measure that timer for 14 seconds of ours.
const COUNTED: &str = "nolapic_timer";
/// And where time is taken: on a busy computer it measures the rate of the time stamp counter wrongly.
const TIMED: &str = "clocksource=hpet";

/// A Linux that was built.
#[derive(Debug)]
pub struct Linux {
    image: PathBuf,
    /// One line: Linux's version, and what it was built from and with.
    pub version: String,
}

impl Linux {
    /// An instruction takes 1 ns, by which Linux prints exact numbers.
    pub const ICOUNT_SHIFT: u8 = 0;

    /// Builds it, unless that has been done; `None` if this computer cannot, which has been said.
    ///
    /// # Errors
    /// It could not be built.
    pub fn build() -> Result<Option<Self>> {
        let folder = places::target_folder("linux")?;
        let mut command = Command::new(places::root().join(BUILD));
        command.arg(&folder).stdin(Stdio::null()).stdout(Stdio::null());
        child::ends_with_this_process(&mut command);
        let status = command.status().doing(format_args!("run {BUILD}"))?;
        match status.code() {
            Some(0) => {}
            Some(UNFIT) => return Ok(None),
            _ => return Err(Error::failed(format!("{BUILD} failed"))),
        }
        let version = fs::read_to_string(folder.join("version")).doing("read Linux's version")?;
        Ok(Some(Self { image: folder.join("bzImage"), version: version.trim().to_owned() }))
    }

    /// Boots it, with these parameters of its test; `names` are the cases that must come of it. A boot that
    /// ends otherwise is tried again: where several CPUs are emulated, Linux was seen to trip over its own
    /// code that it had just patched.
    ///
    /// # Errors
    /// The machine could not be started, or a signal wants this program to end.
    pub fn run(&self, options: &Options, parameters: &[(&str, u64)], names: &[&str]) -> Result<Reply> {
        let mut reply = self.boot(options, parameters, names)?;
        for _ in 1..BOOTS {
            if !matches!(reply, Reply::Failed(_)) {
                break;
            }
            reply = self.boot(options, parameters, names)?;
        }
        Ok(reply)
    }

    fn boot(&self, options: &Options, parameters: &[(&str, u64)], names: &[&str]) -> Result<Reply> {
        let accelerator = match options.accel {
            Accel::Kvm => Accelerator::Kvm,
            Accel::Auto | Accel::Tcg => Accelerator::Tcg,
        };
        let mut command = Command::new(&options.qemu.program);
        command.args(qemu::bare_machine(options, accelerator)).args(qemu::SERIAL).stdin(Stdio::null());
        // The seed is that of the random numbers of the cases.
        command.args(["-seed", "1"]).arg("-kernel").arg(&self.image);
        command.arg("-append").arg(command_line(options.icount.is_some(), parameters));
        command.args(qemu::users_words(options));
        let (mut plain, mut text) = (Plain::default(), Vec::new());
        let end = session::run(command, None, options.limit(), &mut |output| {
            if let Output::Text(piece) = output {
                text.extend_from_slice(&plain.push(piece));
            }
            ControlFlow::Continue(())
        })?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let reply = judged(&text, end.how, names);
        if matches!(reply, Reply::Failed(_)) {
            let log = places::target_folder("logs")?.join("linux.log");
            fs::write(&log, text).doing("write a log")?;
            eprintln!("bench: all that Linux said is in {}", log.display());
        }
        Ok(reply)
    }
}

/// All that Linux is told.
fn command_line(counted: bool, parameters: &[(&str, u64)]) -> String {
    let mut line = format!("{PARAMETERS} {}", if counted { COUNTED } else { TIMED });
    for (name, value) in parameters {
        line += &format!(" test_vmalloc.{name}={value}");
    }
    line
}

/// The test runs while Linux starts; then Linux panics for want of a root, and the machine ends.
fn judged(text: &str, how: How, names: &[&str]) -> Reply {
    let runs = summary::runs(text);
    let has = |name: &&str| runs.iter().any(|run| run.summaries.iter().any(|summary| summary.name == **name));
    let last =
        || text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("Linux said nothing").to_owned();
    match how {
        How::Exited(0) if names.iter().all(has) => Reply::Done(text.to_owned()),
        How::Exited(0) => Reply::Failed(last()),
        How::TimedOut | How::NotEnded => Reply::Failed("timed out".into()),
        How::Exited(_) | How::Signalled(_) | How::EndedByUser => {
            Reply::Failed(format!("QEMU failed: {}", last()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[    0.2] Summary: vrealloc_test passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: 9 \
        avg: 24 usec\n[    0.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n";

    /// Seen failing with every such end a good one.
    #[test]
    fn the_panic_for_want_of_a_root_is_the_good_end() {
        let judge = |text: &str, how| judged(text, how, &["vrealloc_test"]);
        assert_eq!(judge(GOOD, How::Exited(0)), Reply::Done(GOOD.to_owned()));
        let early = "[ 0.1] Kernel panic - not syncing: early\n";
        assert_eq!(judge(early, How::Exited(0)), Reply::Failed(early.trim().to_owned()));
        assert_eq!(judge("", How::Exited(0)), Reply::Failed("Linux said nothing".into()));
        for how in [How::TimedOut, How::Exited(1), How::Signalled(9)] {
            assert!(matches!(judge(GOOD, how), Reply::Failed(_)), "{how:?}");
        }
    }

    /// Seen failing with no look at the cases.
    #[test]
    fn every_case_asked_for_must_be_there() {
        let names = ["vrealloc_test", "fix_size_alloc_test"];
        assert!(matches!(judged(GOOD, How::Exited(0), &names), Reply::Failed(_)));
    }

    #[test]
    fn the_tests_parameters_are_the_kernels() {
        let line = command_line(false, &[("run_test_mask", 9)]);
        assert_eq!(line, format!("{PARAMETERS} {TIMED} test_vmalloc.run_test_mask=9"));
        assert!(command_line(true, &[]).ends_with(COUNTED));
    }
}
