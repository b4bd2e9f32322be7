//! `trace`: what vmalloc does, as it does it.

use crate::{
    arch::{cpu, tsc},
    command::CommandError,
    hostfile, memory, print, println,
    trace::{
        self, Dump,
        ftrace::{self, Ftrace},
        perfetto::Perfetto,
        stream,
    },
};
use alloc::{format, string::String};
use core::fmt::{self, Write};

pub(super) const ABOUT: &str = "tells what vmalloc does: on, purges, off, dump, clear, stream\n\
    on       begins to keep the last events of each CPU\n\
    purges   begins to keep those of purges and flushes only, which slows nothing else down\n\
    off      ends it; what was kept stays\n\
    dump     prints them, the oldest first; format=text (the default): microseconds since the CPUs' reset, CPU,\n\
    \x20        thread, event; format=ftrace: as Linux's tracefs, which ./run.sh replay reads; format=perfetto:\n\
    \x20        JSON that ui.perfetto.dev opens\n\
    clear    forgets them\n\
    stream   begins to write all events to a file on the host, as format=ftrace, until off or the machine's end\n\
    allocate, allocate_failed and free say what becomes of areas; one that is resized is freed as it was\n\
    and allocated as it is. purge_begin says how many pages wait for a flush, purge_end how many became\n\
    free, flush how many are flushed. Each says at its end who called.";

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong.
pub fn trace(arguments: &[&str]) -> Result<(), CommandError> {
    match arguments {
        ["on"] => {
            make_rings()?;
            memory::vmalloc().set_trace(true);
        }
        ["purges"] => {
            make_rings()?;
            memory::vmalloc().set_trace_purges(true);
        }
        ["off"] => off(),
        ["dump"] => dump("text")?,
        ["dump", format] => match format.split_once('=') {
            Some(("format", format)) => dump(format)?,
            _ => {
                return Err(CommandError::new(format!(
                    "dump {format}: takes format=text, ftrace or perfetto"
                )));
            }
        },
        ["clear"] => trace::clear(),
        ["stream"] => {
            hostfile::open().map_err(|error| CommandError::new(format!("stream: {error}")))?;
            if !stream::open(hostfile::write, writer()) {
                return Err(CommandError::new("stream: one is open already: trace off ends it"));
            }
            memory::vmalloc().set_trace(true);
        }
        [] => return Err(CommandError::new("takes one argument: on, purges, off, dump, clear or stream")),
        [other] => {
            let known = ["on", "purges", "off", "dump", "clear", "stream"];
            return Err(CommandError::unknown("argument", other, known.into_iter()));
        }
        [_, extra, ..] => return Err(CommandError::new(format!("takes one argument, not {extra} too"))),
    }
    Ok(())
}

fn make_rings() -> Result<(), CommandError> {
    trace::make_rings().map_err(|_| CommandError::new("no memory for the events"))
}

/// Has the kernel's instance traced no more. What was traced before is still there.
fn off() {
    memory::vmalloc().set_trace(false);
    memory::vmalloc().set_trace_purges(false);
    if let Some(written) = stream::close() {
        println!("{} events were written, {} were lost", written.events, written.lost);
    }
}

/// Writes events of the kernel's instance as Linux does.
fn writer() -> Ftrace {
    let vmalloc = memory::vmalloc();
    Ftrace::new(vmalloc.range().clone(), vmalloc.lazy_max())
}

fn dump(format: &str) -> Result<(), CommandError> {
    let records = trace::dump();
    // The serial line takes everything.
    let Ok(()) = (match format {
        "text" => text(records),
        "ftrace" => linux(records),
        "perfetto" => perfetto(records),
        other => {
            return Err(CommandError::unknown("format", other, ["text", "ftrace", "perfetto"].into_iter()));
        }
    }) else {
        unreachable!("the serial line takes all text")
    };
    Ok(())
}

fn text(mut records: Dump<'_>) -> fmt::Result {
    for record in &mut records {
        let (time, cpu) = (tsc::microseconds(record.time), record.cpu);
        println!("{time:>12} cpu{cpu} {:<19} {}", format!("{}", record.who), record.event);
    }
    println!("{} events were overwritten by newer ones", records.overwritten());
    Ok(())
}

fn linux(mut records: Dump<'_>) -> fmt::Result {
    let (kept, before) = (records.left(), records.overwritten());
    let (mut lines, mut writer) = (Lines::default(), writer());
    ftrace::write_head(&mut lines, Some((kept, kept + before)), cpu::online_count())?;
    for record in &mut records {
        writer.write(&record, &mut lines)?;
    }
    match records.overwritten() - before {
        0 => {}
        events => println!("# {events} more were overwritten while these were read"),
    }
    Ok(())
}

fn perfetto(records: Dump<'_>) -> fmt::Result {
    let mut lines = Lines::default();
    let mut writer = Perfetto::new(&mut lines, cpu::online().iter())?;
    for record in records {
        writer.write(&record)?;
    }
    writer.finish()
}

/// Prints text when its line has ended, so that what others print does not come in between.
#[derive(Default)]
struct Lines(String);

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        if text.ends_with('\n') {
            print!("{}", self.0);
            self.0.clear();
        }
        Ok(())
    }
}
