//! `./run.sh trace`: writes a trace of text as `trace.dat`, which `trace-cmd` and KernelShark open.
//!
//! | module | for |
//! |---|---|
//! | `known` | which events have which fields |
//! | `print` | the fields' values, from the text of an event |
//! | `format` | what an event looks like in the ring buffer |
//! | `ring` | the pages of a CPU's ring buffer |
//! | `trace` | all CPUs, events and tasks of a trace, and the file that is made of them |
//!
//! An event that is not known, or that has other fields than are known, is of the system `text`, with all that stands behind
//! its name as its one field: nothing of a trace is left out but the flags before the time.

mod format;
mod known;
mod print;
mod ring;
#[cfg(test)]
mod tests;
mod trace;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use crate::lines::line::{self, Line};
use crate::lines::source::Source;
use crate::status::{Doing, Error, Result, Status};
use trace::Trace;

/// What the user says of a trace.
#[derive(Args, Debug)]
// Another action's is of that name already.
#[group(id = "dat")]
pub struct Options {
    /// The text that trace stream or trace dump format=ftrace wrote, or tracefs' file trace: plain, or compressed by xz or gzip
    pub trace: PathBuf,
    /// The file to write, which trace-cmd report and kernelshark open
    #[arg(long, value_name = "FILE.dat", default_value = "trace.dat")]
    pub out: PathBuf,
}

/// Writes the file.
///
/// # Errors
/// The trace cannot be read or is none; the file cannot be written.
pub fn run(options: &Options) -> Result<Status> {
    let out = options.out.display();
    if let (Ok(from), Ok(to)) = (options.trace.canonicalize(), options.out.canonicalize())
        && from == to
    {
        return Err(Error::usage(format!("--out {out}: is the trace itself")));
    }
    let trace = read(&mut Source::open(&options.trace)?)?;
    let (events, cut) = (trace.events, trace.cut);
    let mut file = BufWriter::new(File::create(&options.out).doing(format_args!("write {out}"))?);
    trace.write(&mut file).and_then(|()| file.flush()).doing(format_args!("write {out}"))?;
    eprintln!("trace: {events} events are in {out}");
    if cut > 0 {
        eprintln!("trace: the text of {cut} of them was longer than a page of a ring buffer, and is cut");
    }
    Ok(Status::Ok)
}

/// Reads a trace to its end.
fn read(source: &mut Source) -> Result<Trace> {
    let mut trace = Trace::default();
    while let Some(text) = source.next_line()? {
        match line::parse(&text) {
            Some(Line::Nothing) => trace.cpus(cpus(&text).unwrap_or(0)),
            Some(Line::Lost { cpu, events }) => trace.lose(cpu, events),
            Some(Line::Event(record)) => {
                trace.push(&record).map_err(|what| source.wrong(format_args!("{what}")))?;
            }
            None => return Err(source.wrong(format_args!("is no line of a trace"))),
        }
    }
    match trace.events {
        0 => Err(source.unfit("has no events")),
        _ => Ok(trace),
    }
}

/// How many CPUs there are, if a line above the events says it: `#P:2` at its end, as tracefs has it, or `cpus=2`.
fn cpus(line: &str) -> Option<usize> {
    let number = match line.trim().strip_prefix("cpus=") {
        Some(number) => number,
        None => line.strip_prefix('#')?.rsplit_once("#P:")?.1,
    };
    number.trim().parse::<u16>().ok().map(usize::from)
}
