//! All events as text, the moment they happen, to whoever takes it: a device, which keeps it for the host.
//!
//! Who has an event waits until it is written, with interrupts off: none is lost, they are in the order of their times, and
//! the traced program takes longer. Text goes out a page at a time; [`close`] sends the rest. What the device does not take is
//! counted.

use super::{
    Record, Who,
    ftrace::{self, Ftrace, Prefix},
};
use crate::{
    arch::{cpu, tsc},
    sync::{Class, IrqLock},
};
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};
use vmalloc::{Event, PAGE_SIZE};

/// Takes up to a page of text, and returns whether it took all of it. Called with interrupts off, under the stream's lock.
pub type Send = fn(&[u8]) -> bool;

/// What was written to a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events that there were.
    pub events: u64,
    /// Those of them that were not taken, or not in full.
    pub lost: u64,
}

/// Taken by who has an event, in any context; under it the lock of what takes the text.
static CLASS: Class = Class::new("trace stream");
static STREAM: IrqLock<Stream> = IrqLock::new(
    &CLASS,
    Stream {
        format: Ftrace::new(0..1, 0),
        text: Text {
            page: [0; PAGE_SIZE],
            used: 0,
            send: |_| false,
            written: Written { events: 0, lost: 0 },
            in_page: 0,
        },
    },
);
/// Whether the stream is open, asked before the lock is taken.
static OPEN: AtomicBool = AtomicBool::new(false);
/// Whether text is sent just now.
static SENDING: AtomicBool = AtomicBool::new(false);

/// A stream, when it is open.
struct Stream {
    format: Ftrace,
    text: Text,
}

/// Text that was not sent yet, and where it goes.
// The page is one, so that its physical addresses are contiguous.
#[repr(C, align(4096))]
struct Text {
    page: [u8; PAGE_SIZE],
    used: usize,
    send: Send,
    written: Written,
    /// Events of which something is in the page, and that are not lost yet.
    in_page: u64,
}

/// Opens the stream: from now on events are written to it, and not kept in the rings.
pub fn open(send: Send, format: Ftrace) {
    let mut stream = STREAM.lock();
    let Stream { format: former, text } = &mut *stream;
    *former = format;
    (text.send, text.written) = (send, Written::default());
    (text.used, text.in_page) = (0, 0);
    let _cannot_fail = ftrace::write_head(text, None, cpu::online_count());
    OPEN.store(true, Ordering::Relaxed);
}

/// Returns whether the stream is open.
pub fn is_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// Sends what was not sent yet, and closes the stream. Returns what was written to it; `None` if it was closed.
pub fn close() -> Option<Written> {
    if !OPEN.swap(false, Ordering::Relaxed) {
        return None;
    }
    let text = &mut STREAM.lock().text;
    let Written { events, lost } = text.written;
    let _cannot_fail = writeln!(text, "# {events} events, {lost} of them lost");
    text.send();
    Some(text.written)
}

/// Closes the stream of a kernel that has panicked, unless it did while text was sent: the device is not to be used then.
///
/// # Safety
/// Only the caller goes on: every other CPU is stopped for good.
pub unsafe fn close_by_force() {
    if !SENDING.load(Ordering::Relaxed) {
        // SAFETY: promised by the caller.
        unsafe { STREAM.force_unlock() };
        close();
    }
}

/// Writes an event, and returns whether the stream is open. Called with interrupts off.
pub(super) fn write(event: Event, who: Who) -> bool {
    if !is_open() {
        return false;
    }
    let Stream { format, text } = &mut *STREAM.lock();
    // It may have been closed meanwhile.
    if is_open() {
        // The time is taken with the lock: later lines have later times.
        let record = Record { time: tsc::now(), cpu: cpu::current(), who, event };
        text.written.events += 1;
        text.in_page += 1;
        let _cannot_fail = format.write(&record, text);
    }
    true
}

/// Writes a line as an event of the thread `who`, if the stream is open. `text` is the event's name, a colon, and its fields.
pub fn note(who: Who, text: fmt::Arguments<'_>) {
    if is_open() {
        let out = &mut STREAM.lock().text;
        let prefix = Prefix { time: tsc::now(), cpu: cpu::current(), who };
        out.written.events += 1;
        out.in_page += 1;
        let _cannot_fail = writeln!(out, "{prefix}{text}");
    }
}

impl Text {
    /// Sends what is in the page.
    fn send(&mut self) {
        SENDING.store(true, Ordering::Relaxed);
        let is_taken = (self.send)(&self.page[..self.used]);
        SENDING.store(false, Ordering::Relaxed);
        self.used = 0;
        // What is just being written goes on in the next page, and is lost once.
        self.in_page = match is_taken {
            true => self.in_page.min(1),
            false => {
                self.written.lost += self.in_page;
                0
            }
        };
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == PAGE_SIZE {
                self.send();
            }
            let (now, later) = rest.split_at(rest.len().min(PAGE_SIZE - self.used));
            self.page[self.used..][..now.len()].copy_from_slice(now);
            self.used += now.len();
            rest = later;
        }
        Ok(())
    }
}
