//! Events as JSON in the Trace Event format, which ui.perfetto.dev and chrome://tracing open: a track for each CPU, on which
//! purges are slices, and allocations, frees and flushes are instants; and one that counts the pages that wait for a flush.

use super::Record;
use crate::arch::tsc;
use core::fmt::{self, Display, Write};
use heapless::Vec;
use vmalloc::Event;

/// Purges under way at once, at the most: one of each instance that is traced.
const MOST: usize = 8;

/// Writes events as JSON.
pub struct Perfetto<'a> {
    out: &'a mut dyn Write,
    /// Whether something stands in the list already.
    begun: bool,
    purges: Vec<Purge, MOST>,
}

/// A purge that is under way.
struct Purge {
    begin: Record,
    waiting: i64,
}

impl<'a> Perfetto<'a> {
    /// Begins to write, of these CPUs.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: &'a mut dyn Write, cpus: impl Iterator<Item = usize>) -> Result<Self, fmt::Error> {
        out.write_str("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
        let mut this = Self { out, begun: false, purges: Vec::new() };
        this.entry(format_args!("\"name\":\"process_name\",\"ph\":\"M\",\"args\":{{\"name\":\"vmalloc\"}}"))?;
        for cpu in cpus {
            this.entry(format_args!(
                "\"name\":\"thread_name\",\"ph\":\"M\",\"tid\":{cpu},\"args\":{{\"name\":\"CPU {cpu}\"}}"
            ))?;
        }
        Ok(this)
    }

    /// Writes an event.
    ///
    /// # Errors
    /// Those of what it writes to.
    pub fn write(&mut self, record: &Record) -> fmt::Result {
        match record.event {
            Event::Allocate { address, pages, size, kind, caller, .. } => self.instant(
                record,
                kind.name(),
                format_args!("\"address\":\"{address:#x}\",\"pages\":{pages},\"size\":{size}"),
                Some(&caller),
            ),
            Event::AllocateFailed { error, size, caller, .. } => {
                let error = Escaped(&error);
                let more = format_args!("\"size\":{size},\"error\":\"{error}\"");
                self.instant(record, "allocate_failed", more, Some(&caller))
            }
            Event::Free { address, pages, waiting, caller, .. } => {
                let more = format_args!("\"address\":\"{address:#x}\",\"pages\":{pages}");
                self.instant(record, "free", more, Some(&caller))?;
                self.waiting(record, waiting + pages as i64)
            }
            Event::PurgeBegin { pages, .. } => {
                // One more than there can be is shown as it ends.
                let _ = self.purges.push(Purge { begin: *record, waiting: pages });
                self.waiting(record, pages)
            }
            Event::PurgeEnd { pages } => {
                // It may end on another CPU.
                let purge = self.purges.iter().position(|purge| purge.begin.who == record.who);
                let purge = purge.map(|index| self.purges.swap_remove(index));
                let Some(Purge { begin, waiting }) = purge else {
                    return self.instant(record, "purge", format_args!("\"freed\":{pages}"), None);
                };
                let Event::PurgeBegin { caller, .. } = begin.event else { unreachable!("it began so") };
                let (cpu, who) = (begin.cpu, Escaped(&begin.who));
                let (start, end) = (Time(begin.time), Time(record.time.saturating_sub(begin.time)));
                let caller = Escaped(&caller);
                self.entry(format_args!(
                    "\"name\":\"purge\",\"ph\":\"X\",\"tid\":{cpu},\"ts\":{start},\"dur\":{end},\
                     \"args\":{{\"waiting\":{waiting},\"freed\":{pages},\"caller\":\"{caller}\",\"thread\":\"{who}\"}}"
                ))?;
                self.waiting(record, waiting - pages as i64)
            }
            Event::Flush { pages: Some(pages), caller } => {
                self.instant(record, "flush", format_args!("\"pages\":{pages}"), Some(&caller))
            }
            Event::Flush { pages: None, caller } => {
                self.instant(record, "flush", format_args!("\"pages\":\"all\""), Some(&caller))
            }
            Event::UnmapAliases { caller } => {
                self.instant(record, "vm_unmap_aliases", format_args!(""), Some(&caller))
            }
            other => {
                let other = Escaped(&other);
                self.instant(record, "other", format_args!("\"event\":\"{other}\""), None)
            }
        }
    }

    /// Ends the list: purges that have not ended are left out.
    ///
    /// # Errors
    /// Those of what it writes to.
    pub fn finish(self) -> fmt::Result {
        self.out.write_str("\n]}\n")
    }

    fn instant(
        &mut self,
        record: &Record,
        name: &str,
        more: fmt::Arguments<'_>,
        caller: Option<&dyn Display>,
    ) -> fmt::Result {
        let (cpu, time, who) = (record.cpu, Time(record.time), Escaped(&record.who));
        let comma = if more.as_str() == Some("") { "" } else { "," };
        let thread = format_args!("{more}{comma}\"thread\":\"{who}\"");
        match caller.map(Escaped) {
            Some(caller) => self.entry(format_args!(
                "\"name\":\"{name}\",\"ph\":\"i\",\"s\":\"t\",\"tid\":{cpu},\"ts\":{time},\
                 \"args\":{{{thread},\"caller\":\"{caller}\"}}"
            )),
            None => self.entry(format_args!(
                "\"name\":\"{name}\",\"ph\":\"i\",\"s\":\"t\",\"tid\":{cpu},\"ts\":{time},\"args\":{{{thread}}}"
            )),
        }
    }

    /// Counts the pages that wait for a flush.
    fn waiting(&mut self, record: &Record, pages: i64) -> fmt::Result {
        let (pages, time) = (pages.max(0), Time(record.time));
        self.entry(format_args!(
            "\"name\":\"lazy pages\",\"ph\":\"C\",\"ts\":{time},\"args\":{{\"pages\":{pages}}}"
        ))
    }

    /// All is of one process.
    fn entry(&mut self, fields: fmt::Arguments<'_>) -> fmt::Result {
        if core::mem::replace(&mut self.begun, true) {
            self.out.write_str(",\n")?;
        }
        write!(self.out, "{{\"pid\":1,{fields}}}")
    }
}

/// Cycles, in microseconds with three places.
struct Time(u64);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kilohertz = u128::from(tsc::kilohertz().max(1));
        let nanoseconds = u128::from(self.0) * 1_000_000 / kilohertz;
        write!(f, "{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
    }
}

/// Text within quotes.
struct Escaped<'a>(&'a dyn Display);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Writes text so that it can stand within quotes.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '"' | '\\' => write!(self.0, "\\{character}"),
            '\0'..' ' => write!(self.0, "\\u{:04x}", u32::from(character)),
            _ => self.0.write_char(character),
        })
    }
}
