//! Writes the program that the kernel is handed, as the trace is read.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use protocol::replay::Header;

use super::event;
use super::translate::Translator;
use crate::lines::line::{self, Line};
use crate::lines::source::Source;
use crate::status::{Doing, Result};

/// Makes the program of a trace in the file `to`, and returns what was seen of the trace.
///
/// # Errors
/// The trace cannot be read, is none, or has no calls; the file cannot be written.
pub fn write(trace: &mut Source, to: &Path) -> Result<Translator> {
    let writing = || format!("write {}", to.display());
    let mut file = BufWriter::new(File::create(to).doing(writing())?);
    // The header is known last.
    file.write_all(&[0; Header::SIZE]).doing(writing())?;
    let mut translator = Translator::default();
    let mut events = 0;
    while let Some(text) = trace.next_line()? {
        match line::parse(&text) {
            Some(Line::Nothing) => {}
            Some(Line::Lost { cpu, events }) => translator.lost(cpu, events),
            Some(Line::Event(record)) => {
                events += 1;
                let event = event::parse(record.name, record.fields)
                    .map_err(|what| trace.wrong(format_args!("{what}")))?;
                for call in translator.event(&record, event) {
                    file.write_all(&call.to_bytes()).doing(writing())?;
                }
            }
            None if events == 0 => return Err(trace.wrong(format_args!("is no line of a trace"))),
            None => return Err(trace.wrong(format_args!("is no line of a trace, as those before are"))),
        }
    }
    if translator.header().calls == 0 {
        return Err(trace.unfit(match events {
            0 => "has no events",
            _ => "has no events of vmalloc from which to make calls",
        }));
    }
    file.rewind().doing(writing())?;
    file.write_all(&translator.header().to_bytes()).doing(writing())?;
    file.flush().doing(writing())?;
    Ok(translator)
}
