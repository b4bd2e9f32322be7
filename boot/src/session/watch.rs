//! Watches a program from its first word to its end.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use protocol::Record;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::end::How;
use super::event::Event;
use super::patience::{Left, Patience};
use super::serial::{Output, Splitter};
use crate::symbols::Symbols;

/// How often a program that has closed its output is asked whether it has ended.
const POLL: Duration = Duration::from_millis(2);

/// Why a session is over.
pub(super) enum Stopped {
    /// Its program ended so.
    By(How),
    /// A signal to this process must end it.
    BySignal(i32),
}

/// One program that is watched.
pub(super) struct Watch {
    /// What happens to it.
    pub receiver: Receiver<Event>,
    /// How long it may yet run.
    pub patience: Patience,
    /// How long the program may take to end after its kernel has said that it does.
    pub ending: Duration,
}

impl Watch {
    /// Hands on all output, then says how the program ended or why it must.
    pub(super) fn until_end(
        &mut self,
        child: &Child,
        symbols: &Symbols,
        sink: &mut dyn FnMut(Output<'_>) -> ControlFlow<()>,
    ) -> Stopped {
        let mut splitter = Splitter::new(symbols);
        let (unwanted, ends) = (Cell::new(false), Cell::new(false));
        let mut sink = |output: Output<'_>| {
            if let Output::Record(record) = output {
                ends.set(is_last(record));
            }
            if !unwanted.get() {
                unwanted.set(sink(output).is_break());
            }
        };
        let mut closed = false;
        loop {
            let patience = match self.patience.left() {
                None => None,
                Some(Left::AtLeast(time)) => Some(time),
                Some(left) => {
                    splitter.finish(&mut sink);
                    return Stopped::By(if left == Left::NotEnded { How::NotEnded } else { How::TimedOut });
                }
            };
            match self.next(closed, patience) {
                Ok(Event::Bytes(bytes)) => {
                    splitter.push(&bytes, &mut sink);
                    self.patience.heard();
                    if ends.get() {
                        self.patience.ends_within(self.ending);
                    }
                }
                Ok(Event::Closed) => {
                    closed = true;
                    splitter.finish(&mut sink);
                }
                Ok(Event::EndedByUser) => return Stopped::By(How::EndedByUser),
                Ok(Event::Signal(signal)) => return Stopped::BySignal(signal),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if unwanted.get() {
                return Stopped::By(How::EndedByUser);
            }
            if closed && let Some(how) = ended(child) {
                return Stopped::By(how);
            }
        }
    }

    /// Waits for an event, so long at most.
    fn next(&self, closed: bool, patience: Option<Duration>) -> std::result::Result<Event, RecvTimeoutError> {
        match (closed, patience) {
            (true, patience) => self.receiver.recv_timeout(patience.map_or(POLL, |time| time.min(POLL))),
            (false, Some(time)) => self.receiver.recv_timeout(time),
            (false, None) => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }
}

/// Whether a kernel that has said this has nothing left to do but to end its machine.
fn is_last(record: Record<'_>) -> bool {
    match record {
        Record::CommandsDone { .. }
        | Record::TestsDone { .. }
        | Record::Panic
        | Record::Reboot
        | Record::PowerOff { .. } => true,
        Record::Console
        | Record::Command { .. }
        | Record::Tests { .. }
        | Record::Test { .. }
        | Record::Passed
        | Record::Sample { .. }
        | Record::Profile { .. }
        | Record::ExpectPanic { .. } => false,
    }
}

/// How a program ended, if it has. It is still to be waited for: until then its number is nobody else's.
fn ended(child: &Child) -> Option<How> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(Pid::from_child(child)), options).ok()??;
    let signalled = || How::Signalled(status.terminating_signal().unwrap_or_default());
    Some(status.exit_status().map_or_else(signalled, How::Exited))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_has_said_its_last_word_when_all_is_done_or_it_panics() {
        for (record, last) in [
            (Record::CommandsDone { failed: 0 }, true),
            (Record::TestsDone { passed: 1 }, true),
            (Record::PowerOff { status: Default::default() }, true),
            (Record::Panic, true),
            (Record::Reboot, true),
            (Record::Console, false),
            (Record::Passed, false),
            (Record::Tests { count: 1 }, false),
        ] {
            assert_eq!(is_last(record), last, "{record:?}");
        }
    }
}
