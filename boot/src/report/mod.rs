//! `report`: every figure of the benchmark suite drawn, in one HTML file that needs nothing else.
//!
//! | module | for |
//! |---|---|
//! | [`data`] | what is drawn: the content of some files, put together |
//! | [`figures`] | which figures there are, and what they say |
//! | [`figure`] | a figure: drawing, words, table |
//! | [`draw`] | drawings |
//! | [`page`] | the page around them |

pub mod data;
pub mod draw;
pub mod figure;
pub mod figures;
pub mod page;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::bench;
use crate::bench::kept::{Kept, Measured};
use crate::status::{Doing, Error, Result, Status};
use data::Data;

/// What to draw, and where to.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Draw what `bench --json` wrote to this file, and measure nothing; several may be given
    #[arg(long, value_name = "FILE.json")]
    from: Vec<PathBuf>,
    /// Write the page to this file
    #[arg(long, value_name = "FILE.html", default_value = "report.html")]
    out: PathBuf,
    /// Where it measures: write all figures to this file too
    #[arg(long, value_name = "FILE.json", conflicts_with = "from")]
    json: Option<PathBuf>,
    /// Show the page in the browser
    #[arg(long)]
    open: bool,
    /// Where it measures: measure Linux too, and do not compare with what was recorded of it
    #[arg(long, conflicts_with = "from")]
    linux: bool,
}

/// Draws what was measured, or measures all parts first.
///
/// # Errors
/// A file cannot be read or written, or something could not be measured.
pub fn run(options: &Options) -> Result<Status> {
    let mut data = Data::read(&options.from)?;
    let page = Kept::create(&options.out)?;
    let json = options.json.as_deref().map(Kept::create).transpose()?;
    let mut status = Status::Ok;
    if options.from.is_empty() {
        eprintln!(
            "report: measures all parts of the benchmark suite first, which takes about a quarter of an hour;"
        );
        eprintln!("report: --from FILE.json draws what bench --json FILE.json wrote");
        let (measured, _) = bench::measure(&bench::Options::all(options.linux))?;
        if let Some(json) = json {
            json.write(&measured.json())?;
        }
        if measured.any_failed() {
            status = Status::Failed;
        }
        data.add("measured for this page".into(), measured);
    }
    page.write(&page::html(&data))?;
    println!("report: {}", options.out.display());
    if options.open {
        open(options)?;
    }
    Ok(status)
}

/// Draws what a replay gave, if the user wants that.
///
/// # Errors
/// The file cannot be written.
pub fn of_replay(measured: Measured, out: Option<&Path>) -> Result<Status> {
    if let Some(out) = out {
        let mut data = Data::default();
        data.add("replayed for this page".into(), measured);
        Kept::create(out)?.write(&page::html(&data))?;
        println!("report: {}", out.display());
    }
    Ok(Status::Ok)
}

/// Has the desktop show the page.
fn open(options: &Options) -> Result<()> {
    let mut command = Command::new("xdg-open");
    command.arg(&options.out).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().doing("open the page by xdg-open")?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::failed(format!("xdg-open cannot show {}", options.out.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figure::Figures;

    fn options(from: &str, out: PathBuf) -> Options {
        Options { from: vec![from.into()], out, open: false, linux: false, json: None }
    }

    #[test]
    fn a_page_of_nothing_says_what_was_not_measured() {
        let mut data = Data::default();
        data.add("x.json".into(), Measured::now(Figures::default(), None));
        let page = page::html(&data);
        assert!(!page.contains("<figure"));
        for command in ["bench cases sizes live timed shared instead", "bench history", "bench latency"] {
            assert!(page.contains(&format!("Not measured: ./run.sh {command}</p>")), "{command}");
        }
    }

    /// Seen failing with the page's file made before the figures were read.
    #[test]
    fn a_file_that_cannot_be_read_is_named_and_no_page_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("r.html");
        let error = run(&options("/nosuch.json", out.clone())).unwrap_err();
        assert!(error.message.contains("/nosuch.json") && !error.message.contains('\n'), "{error}");
        assert!(!out.exists());
    }
}
