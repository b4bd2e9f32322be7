//! `./run.sh replay`: makes the vmalloc calls of a trace that was recorded on a Linux again, and tells what came of them
//! beside what Linux did.
//!
//! | module | for |
//! |---|---|
//! | `event` | what an event says |
//! | `translate` | makes calls of events |
//! | `linux` | counts what Linux did |
//! | `program` | writes the calls as the kernel reads them |
//! | `reply` | reads what the kernel answers |
//! | `recording` | reads what the kernel streamed meanwhile |
//! | `figures`, `table` | puts both beside each other |
//!
//! A trace is read line by line, and its calls go to a file: memory is taken by what is alive in it.

mod event;
mod figures;
mod linux;
mod program;
mod recording;
mod reply;
mod table;
#[cfg(test)]
mod tests;
mod translate;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::bench::experiments::replayed::Replayed;
use crate::bench::figure::Figures;
use crate::bench::kept::{Kept, Measured};
use crate::bench::ours::{self, Machines, Reply as Answer};
use crate::lines::source::Source;
use crate::machine::options::Options as Machine;
use crate::machine::qemu::Orders;
use crate::places;
use crate::scratch::Scratch;
use crate::status::{Doing, Error, Result};
use figures::{Run, Trace};
use reply::Reply;

/// CPUs that the kernel makes use of, at the most.
const MOST_CPUS: u16 = 64;

/// What the user says of a replay.
#[derive(Args, Debug)]
// The machine's are a group of that name already.
#[group(id = "replay")]
pub struct Options {
    /// The text of tracefs' file trace, or of trace-cmd report: plain, or compressed by xz or gzip
    pub trace: PathBuf,
    /// Replay it so often, with all areas freed between
    #[arg(long = "loop", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub loops: u32,
    /// Make the calls at the recorded times, not as fast as it goes
    #[arg(long)]
    pub timed: bool,
    /// Write the figures as JSON too, which report --from draws
    #[arg(long, value_name = "FILE.json")]
    pub json: Option<PathBuf>,
    /// Draw a map of the address space and a timeline of the purges and flushes, to this file
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// The machine.
    #[command(flatten)]
    pub machine: Machine,
}

/// Samples of the address space that a map is drawn of.
const SAMPLES: u32 = 128;

/// Makes the program of a trace in the file `to`.
///
/// # Errors
/// The trace cannot be read or is none; the file cannot be written.
pub fn write_program(trace: &Path, to: &Path) -> Result<()> {
    program::write(&mut Source::open(trace)?, to).map(drop)
}

/// Replays a trace and prints the table. Returns what was measured.
///
/// # Errors
/// The trace cannot be read or is none, something cannot be built, started or written.
pub fn run(options: &Options) -> Result<Measured> {
    let json = options.json.as_deref().map(Kept::create).transpose()?;
    let records = json.is_some() || options.report.is_some();
    let folder = Scratch::within(&places::target_folder("runs")?)?;
    let program = folder.path().join("program");
    let mut source = Source::open(&options.trace)?;
    let translator = program::write(&mut source, &program)?;
    let header = translator.header();
    eprintln!("replay: {} calls of {} CPUs", header.calls, header.cpus);

    let mut machine = options.machine.clone();
    if machine.cpus.is_none() && machine.icount.is_none() {
        machine.cpus = Some(header.cpus.clamp(1, MOST_CPUS));
    }
    let events = folder.path().join("events");
    let orders = Orders {
        parameters: machine.append.clone(),
        commands: Some(format!(
            "replay loop={} timed={} map={}",
            options.loops,
            u8::from(options.timed),
            if records { SAMPLES } else { 0 }
        )),
        program: Some(program),
        events: records.then(|| events.clone()),
        ..Orders::default()
    };
    let machines = Machines::new(machine.accel)?;
    if machine.icount.is_none() {
        machine.accel = machines.accel();
    }
    let answer = match machines.carry_out(&machine, &orders)? {
        Answer::Done(text) => text,
        Answer::Failed(line) => return Err(Error::failed(line)),
    };
    let reply = Reply::parse(&answer);
    let trace = Trace {
        name: options.trace.display().to_string(),
        linux: &translator.linux,
        nanoseconds: translator.time(),
        calls: header.calls,
    };
    let run = Run {
        machine: ours::conditions(&machine, 1).to_string(),
        instruction: machine.icount.map(|shift| 1 << shift),
        loops: options.loops,
    };
    let skipped = translator.skipped.clone();
    let figures = reply.and_then(|reply| Replayed::new(&trace, run, &reply, skipped));
    let mut figures = figures
        .ok_or_else(|| Error::failed(format!("replay: the kernel's answer is of another form: {answer}")))?;
    std::io::stdout().write_all(table::table(&figures).as_bytes()).doing("write to standard output")?;
    if records {
        figures.recording = recording::read(&events)?;
    }
    let measured = Measured { replayed: Some(figures), ..Measured::now(Figures::default(), None) };
    if let Some(json) = json {
        json.write(&measured.json())?;
    }
    Ok(measured)
}
