//! This terminal as the machine's console.
//!
//! What the user types goes to the serial line as it is, byte by byte. It is
//! held back until the kernel's console is ready, because the firmware would
//! read it as key presses.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ChildStdin;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use super::event::Event;
use crate::status::{Doing, Result};

/// Ctrl-], which ends the machine.
const END: u8 = 0x1d;

/// What is typed after the end of a file. Its last line may have no end.
const POWER_OFF: &[u8] = b"\npoweroff\n";

/// Whether a person types on standard input.
#[must_use]
pub fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// The terminal passes every key on, unprocessed, while this value lives.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Switches to raw mode if standard input is a terminal.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn enter() -> Result<Option<Self>> {
        if !is_interactive() {
            return Ok(None);
        }
        enable_raw_mode().doing("switch the terminal to raw mode")?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // There is nobody to tell if the terminal is gone.
        let _ = disable_raw_mode();
    }
}

/// Standard input, to be given to one machine after the other.
#[derive(Clone, Debug)]
pub struct Input(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Typed and not yet passed on.
    queue: VecDeque<u8>,
    /// Counts machines, so that the writer to an ended one takes nothing more.
    machine: u64,
    /// The machine's console is ready.
    ready: bool,
    /// The user has ended the machine.
    ended: bool,
    /// The session to tell so.
    session: Option<Sender<Event>>,
}

impl Input {
    /// Starts to read standard input. Where that is no terminal, the machine is switched off after the last of it unless
    /// `debugged`: nobody could do so otherwise.
    #[must_use]
    pub fn start(debugged: bool) -> Self {
        let interactive = is_interactive();
        let input = Self(Arc::default());
        let reader = input.clone();
        thread::spawn(move || {
            reader.read(io::stdin().lock(), interactive);
            if !interactive && !debugged {
                reader.read(POWER_OFF, false);
            }
        });
        input
    }

    /// From now on the machine whose console is ready gets the input.
    pub fn ready(&self) {
        self.lock().ready = true;
        self.0.changed.notify_all();
    }

    /// Gives the input to a new machine; `session` is told if the user ends it.
    pub(crate) fn attach(&self, mut stdin: ChildStdin, session: Sender<Event>) {
        let mut state = self.lock();
        if state.ended {
            let _ = session.send(Event::EndedByUser);
        }
        state.machine += 1;
        state.ready = false;
        state.session = Some(session);
        let machine = state.machine;
        drop(state);
        let input = self.clone();
        thread::spawn(move || {
            while let Some(bytes) = input.next_for(machine) {
                if stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_err() {
                    return;
                }
            }
        });
    }

    /// The machine has ended.
    pub(crate) fn detach(&self) {
        let mut state = self.lock();
        state.machine += 1;
        state.ready = false;
        state.session = None;
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits for input; `None` when the machine has ended.
    fn next_for(&self, machine: u64) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if state.machine != machine {
                return None;
            }
            if state.ready && !state.queue.is_empty() {
                return Some(state.queue.drain(..).collect());
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Queues all of `from`; Ctrl-] ends the machine if a person types it.
    fn read(&self, mut from: impl Read, interactive: bool) {
        let mut buffer = [0; 1024];
        loop {
            let length = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let bytes = &buffer[..length];
            let end = bytes.iter().position(|&byte| interactive && byte == END);
            let mut state = self.lock();
            state.queue.extend(&bytes[..end.unwrap_or(length)]);
            if end.is_some() {
                state.ended = true;
                if let Some(session) = &state.session {
                    let _ = session.send(Event::EndedByUser);
                }
            }
            drop(state);
            self.0.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes text fit for a terminal in raw mode, where a line end alone does not
/// return to the first column.
#[must_use]
pub fn for_raw_mode(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len() + 16);
    for &byte in text {
        if byte == b'\n' {
            result.push(b'\r');
        }
        result.push(byte);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::patience::Limit;
    use crate::session::serial::Output;
    use crate::session::{How, run};
    use protocol::Record;
    use std::ops::ControlFlow;
    use std::process::Command;
    use std::time::Duration;

    /// Runs a machine of shell commands on input that has been typed already.
    fn machine(input: &Input, script: &str) -> (How, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut text = String::new();
        let end = run(command, Some(input), Limit::All(Duration::from_secs(20)), &mut |output| {
            match output {
                Output::Text(bytes) => text += &String::from_utf8_lossy(bytes),
                Output::Record(Record::Console) => input.ready(),
                other => panic!("{other:?}"),
            }
            ControlFlow::Continue(())
        });
        (end.unwrap().how, text)
    }

    #[test]
    fn input_waits_for_the_console_and_for_the_next_machine() {
        let input = Input(Arc::default());
        input.read(&b"one\ntwo\n"[..], true);
        // This machine ends before its console is ready and must get nothing.
        assert_eq!(machine(&input, "exec <&-; exit 7").0, How::Exited(7));
        let script = r"printf '\036console\n'; read a; read b; echo $b $a; exit 9";
        assert_eq!(machine(&input, script), (How::Exited(9), "two one\n".to_owned()));
    }

    /// Seen failing with machines that are not counted.
    #[test]
    fn the_writer_to_a_machine_that_has_ended_takes_nothing() {
        let input = Input(Arc::default());
        let next = |machine| {
            input.read(&b"x"[..], false);
            input.ready();
            input.next_for(machine)
        };
        assert_eq!(next(0), Some(b"x".to_vec()));
        for ended in 0..3 {
            input.detach();
            assert_eq!(next(ended), None);
            assert_eq!(next(ended + 1), Some(b"xx".to_vec()), "what was typed since");
        }
    }

    #[test]
    fn the_end_key_ends_the_machine_even_before_its_console_is_ready() {
        let input = Input(Arc::default());
        input.read(&b"text\x1dmore"[..], true);
        assert_eq!(machine(&input, "exec sleep 60").0, How::EndedByUser);
    }

    #[test]
    fn the_end_key_means_nothing_in_a_file() {
        let input = Input(Arc::default());
        input.read(&b"\x1d\n"[..], false);
        let script = r"printf '\036console\n'; read a; [ ${#a} = 1 ] && exit 9";
        assert_eq!(machine(&input, script).0, How::Exited(9));
    }

    #[test]
    fn line_ends_return_to_the_first_column() {
        assert_eq!(for_raw_mode(b"a\nb"), b"a\r\nb");
    }
}
