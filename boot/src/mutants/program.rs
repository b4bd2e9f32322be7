//! The test program with the switches: which tests it has, and runs of some of them.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::places;
use crate::session::patience::Limit;
use crate::session::serial::Output;
use crate::session::{self, How};
use crate::status::{Error, Result};

/// How much address space a test program has, in KiB: a change may make it take memory without end.
const MEMORY: &str = "12582912";

/// How long a program may take to list its tests.
const LIST: Duration = Duration::from_secs(60);

/// A test program.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// The folder of its package, where cargo runs tests.
    pub package: PathBuf,
}

impl Program {
    /// The names of its tests.
    ///
    /// # Errors
    /// If it cannot be started, or does not list them.
    pub fn tests(&self) -> Result<Vec<String>> {
        let mut text = Vec::new();
        let how = self.run(&["--list", "--format", "terse"], None, LIST, &mut text)?.0;
        if how != How::Exited(0) {
            return Err(Error::failed("the test program does not list its tests"));
        }
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test").map(String::from)).collect())
    }

    /// Runs these tests, one after the other, with an environment variable set.
    ///
    /// # Errors
    /// If it cannot be started, or a signal wants this program to end.
    pub fn try_tests(
        &self,
        tests: &[&str],
        variable: (&str, &OsStr),
        limit: Duration,
    ) -> Result<(How, Duration)> {
        let arguments = [tests, &["--exact", "--test-threads", "1"]].concat();
        self.run(&arguments, Some(variable), limit, &mut Vec::new())
    }

    fn run(
        &self,
        arguments: &[&str],
        variable: Option<(&str, &OsStr)>,
        limit: Duration,
        said: &mut Vec<u8>,
    ) -> Result<(How, Duration)> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!(r#"ulimit -v {MEMORY}; exec "$0" "$@""#)).arg(&self.path);
        command.args(arguments).current_dir(&self.package).env("CARGO_MANIFEST_DIR", &self.package);
        // The programs that tests start are started by no user.
        command.env_remove(places::CURRENT_DIR).envs(variable).stdin(Stdio::null());
        let end = session::run(command, None, Limit::All(limit), &mut |output| {
            if let Output::Text(text) = output {
                said.extend_from_slice(text);
            }
            ControlFlow::Continue(())
        })?;
        Ok((end.how, end.took))
    }
}
