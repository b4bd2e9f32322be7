//! A trace, as it is read, in the form of the ring buffers of its CPUs; and the file that is made of it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::format::Format;
use super::known::{KNOWN, Known, TEXT};
use super::print::{self, Value};
use super::ring::{HEADER_EVENT, HEADER_PAGE, PAGE, Ring};
use crate::lines::line::Record;

/// What was read of a trace.
#[derive(Debug, Default)]
pub struct Trace {
    /// By CPU.
    rings: Vec<Ring>,
    /// The names of tasks, by their numbers.
    tasks: BTreeMap<u32, String>,
    /// By number, from [`FIRST`] on.
    formats: Vec<Format>,
    /// The numbers of events, by system and name.
    ids: HashMap<(&'static str, String), u16>,
    /// Events that were read.
    pub events: u64,
    /// Those of them whose text was too long, and is cut.
    pub cut: u64,
}

/// The number of the first event: Linux's own tracers have those below.
const FIRST: u16 = 300;

/// The task that is shown where none is known.
const UNKNOWN: &str = "<...>";

impl Trace {
    /// Makes sure that there are so many CPUs, with events or without.
    pub fn cpus(&mut self, cpus: usize) {
        if self.rings.len() < cpus {
            self.rings.resize_with(cpus, Ring::default);
        }
    }

    /// Notes that events of a CPU were lost.
    pub fn lose(&mut self, cpu: u16, events: u64) {
        self.ring(cpu).lose(events);
    }

    /// Appends an event.
    ///
    /// # Errors
    /// What is wrong with it, beside those before.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), String> {
        let &Record { task, pid, cpu, time, name, fields } = record;
        if time < self.ring(cpu).time() {
            return Err(format!("is earlier than the event of CPU {cpu} before it"));
        }
        // Linux's numbers are positive.
        if pid > i32::MAX as u32 {
            return Err(format!("no task has the number {pid}"));
        }
        let known = KNOWN.iter().filter(|known| known.name == name);
        let found = known.clone().find_map(|known| Some((known, print::scan(known.print, fields)?)));
        let (known, values) = found.unwrap_or_else(|| (&TEXT, vec![Value::Text(fields)]));
        let event = if known.event.is_empty() { name } else { known.event };
        let format = self.format(known, event).ok_or("is of one kind of event too many")?;
        let (bytes, is_cut) = format.record(pid, &values);
        self.cut += u64::from(is_cut);
        self.events += 1;
        self.ring(cpu).push(time, &bytes);
        if task != UNKNOWN && self.tasks.get(&pid).is_none_or(|known| known != task) {
            self.tasks.insert(pid, task.to_owned());
        }
        Ok(())
    }

    fn ring(&mut self, cpu: u16) -> &mut Ring {
        self.cpus(usize::from(cpu) + 1);
        &mut self.rings[usize::from(cpu)]
    }

    /// The format of an event, which is made if there is none; `None` if no number is left for it.
    fn format(&mut self, known: &Known, name: &str) -> Option<&Format> {
        let key = (known.system, name.to_owned());
        let id = match self.ids.get(&key) {
            Some(&id) => id,
            None => {
                let id = FIRST.checked_add(self.formats.len().try_into().ok()?)?;
                self.formats.push(Format::new(known, name, id));
                self.ids.insert(key, id);
                id
            }
        };
        self.formats.get(usize::from(id - FIRST))
    }

    /// Writes the file: version 6 of what `man trace-cmd.dat.v6` describes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(self, out: &mut dyn Write) -> io::Result<()> {
        let mut head = self.head();
        let rings: Vec<_> = self.rings.into_iter().map(Ring::finish).collect();
        // Each CPU's pages begin where a page of the file does.
        let end = head.len() + rings.len() * 16;
        let start = end.next_multiple_of(PAGE);
        let mut offset = start;
        for pages in &rings {
            head.extend_from_slice(&(offset as u64).to_le_bytes());
            head.extend_from_slice(&(pages.len() as u64).to_le_bytes());
            offset += pages.len();
        }
        head.resize(start, 0);
        out.write_all(&head)?;
        rings.iter().try_for_each(|pages| out.write_all(pages))
    }

    /// What stands before the places of the CPUs' pages.
    fn head(&self) -> Vec<u8> {
        // Little-endian, longs of 8 bytes.
        let mut head = b"\x17\x08\x44tracing6\0\x00\x08".to_vec();
        head.extend_from_slice(&(PAGE as u32).to_le_bytes());
        for (name, text) in [("header_page", HEADER_PAGE), ("header_event", HEADER_EVENT)] {
            head.extend_from_slice(name.as_bytes());
            head.push(0);
            long_text(&mut head, text);
        }
        // No event of Linux's tracers.
        head.extend_from_slice(&0_u32.to_le_bytes());
        let mut systems = BTreeMap::<_, Vec<_>>::new();
        for format in &self.formats {
            systems.entry(format.system).or_default().push(format);
        }
        head.extend_from_slice(&(systems.len() as u32).to_le_bytes());
        for (system, formats) in systems {
            head.extend_from_slice(system.as_bytes());
            head.push(0);
            head.extend_from_slice(&(formats.len() as u32).to_le_bytes());
            formats.iter().for_each(|format| long_text(&mut head, &format.text()));
        }
        // Neither symbols of the kernel nor formats of trace_printk.
        head.extend_from_slice(&[0; 8]);
        let tasks: String = self.tasks.iter().map(|(pid, task)| format!("{pid} {task}\n")).collect();
        long_text(&mut head, &tasks);
        head.extend_from_slice(&(self.rings.len() as u32).to_le_bytes());
        // No option: the number 0 ends them.
        head.extend_from_slice(b"options  \0\0\0");
        head.extend_from_slice(b"flyrecord\0");
        head
    }
}

/// Appends text behind its length of 64 bits.
fn long_text(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(&(text.len() as u64).to_le_bytes());
    to.extend_from_slice(text.as_bytes());
}
