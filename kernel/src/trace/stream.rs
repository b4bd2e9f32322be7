//! All events as text, the moment they happen, to whoever takes it: a device, which keeps it for the host.
//!
//! Who has an event waits until it is written, with interrupts off: none is lost, they are in the order of their times, and
//! the traced program takes longer. Text goes out a page at a time, whole events only; [`close`] sends the rest. What the device
//! does not take is counted.
//!
//! A kernel that panics sends what is there still, although a CPU may have been stopped that has the lock: a CPU that sends is
//! stopped when it has sent the page ([`stop::when_done`]), and of an event that was being written nothing was sent.

use super::{
    Record, Who,
    ftrace::{self, Ftrace, Prefix},
};
use crate::{
    arch::{cpu, interrupts::stop, tsc},
    sync::{Class, IrqLock},
};
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, Ordering, compiler_fence},
};
use vmalloc::{Event, PAGE_SIZE};

/// Takes up to a page of text, and returns whether it took all of it. Called with interrupts off, under the stream's lock.
pub type Send = fn(&[u8]) -> bool;

/// What was written to a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events that there were.
    pub events: u64,
    /// Those of them that were not taken.
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
            whole: 0,
            send: |_| false,
            written: Written { events: 0, lost: 0 },
            ended: 0,
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
    /// How much of the page is whole events.
    whole: usize,
    send: Send,
    written: Written,
    /// Events that were written to their end.
    ended: u64,
    /// Whole events in the page.
    in_page: u64,
}

/// Opens the stream: from now on events are written to it, and not kept in the rings. `false`: it is open already.
#[must_use]
pub fn open(send: Send, format: Ftrace) -> bool {
    let mut stream = STREAM.lock();
    if is_open() {
        return false;
    }
    let Stream { format: former, text } = &mut *stream;
    *former = format;
    (text.send, text.written) = (send, Written::default());
    (text.used, text.whole, text.ended, text.in_page) = (0, 0, 0, 0);
    let _cannot_fail = ftrace::write_head(text, None, cpu::online_count());
    text.end_line();
    OPEN.store(true, Ordering::Relaxed);
    true
}

/// Returns whether the stream is open.
pub fn is_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// Sends what was not sent yet, and closes the stream. Returns what was written to it; `None` if it was closed.
pub fn close() -> Option<Written> {
    if !is_open() {
        return None;
    }
    let text = &mut STREAM.lock().text;
    // Another CPU may have closed it meanwhile.
    is_open().then(|| {
        text.close();
        text.written
    })
}

/// Closes the stream of a kernel that has panicked. If it did while it sent a page, the device is not to be used: returns how
/// many events that page has, then.
///
/// # Safety
/// Only the caller goes on: every other CPU is stopped for good.
pub unsafe fn close_by_force() -> Option<u64> {
    if !is_open() {
        return None;
    }
    // SAFETY: promised by the caller.
    unsafe { STREAM.force_unlock() };
    let text = &mut STREAM.lock().text;
    if SENDING.load(Ordering::Relaxed) {
        return Some(text.in_page);
    }
    // One that a stopped CPU was writing is left out.
    text.written.lost += text.written.events - text.ended;
    text.used = text.whole;
    text.close();
    None
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
        let _cannot_fail = format.write(&record, text);
        text.end_event();
    }
    true
}

/// Writes a line as an event of the thread `who`, if the stream is open. `text` is the event's name, a colon, and its fields.
pub fn note(who: Who, text: fmt::Arguments<'_>) {
    if is_open() {
        let out = &mut STREAM.lock().text;
        let prefix = Prefix { time: tsc::now(), cpu: cpu::current(), who };
        out.written.events += 1;
        let _cannot_fail = writeln!(out, "{prefix}{text}");
        out.end_event();
    }
}

impl Text {
    /// Writes how many events there were, and sends what was not sent yet.
    fn close(&mut self) {
        let Written { events, lost } = self.written;
        let _cannot_fail = writeln!(self, "# {events} events, {lost} of them lost");
        self.end_line();
        self.send();
        OPEN.store(false, Ordering::Relaxed);
    }

    fn end_event(&mut self) {
        self.end_line();
        self.ended += 1;
        self.in_page += 1;
    }

    /// What is in the page may be sent.
    fn end_line(&mut self) {
        // In this order for who looks at it when this CPU was stopped.
        compiler_fence(Ordering::Release);
        self.whole = self.used;
    }

    /// Sends the whole events of the page; what is behind them is moved to its beginning.
    fn send(&mut self) {
        stop::when_done(|| {
            SENDING.store(true, Ordering::Relaxed);
            if !(self.send)(&self.page[..self.whole]) {
                self.written.lost += self.in_page;
            }
            self.page.copy_within(self.whole..self.used, 0);
            (self.used, self.whole, self.in_page) = (self.used - self.whole, 0, 0);
            SENDING.store(false, Ordering::Release);
        });
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == PAGE_SIZE {
                if self.whole == 0 {
                    // An event that fits no page goes in parts.
                    self.end_line();
                }
                self.send();
            }
            let (now, later) = rest.split_at(rest.len().min(PAGE_SIZE - self.used));
            self.page[self.used..][..now.len()].copy_from_slice(now);
            compiler_fence(Ordering::Release);
            self.used += now.len();
            rest = later;
        }
        Ok(())
    }
}
