//! Tells the sessions that run of signals to this process.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

use super::event::Event;
use crate::status::{Doing, Error, Result, Status};

/// The sessions that run now, to be told of signals.
static RUNNING: Mutex<Vec<Sender<Event>>> = Mutex::new(Vec::new());

/// The last signal, 0 for none: a session may be told of it when it listens no more.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// The programs that run now, each of which leads a process group of its own: what stops this one has to stop them, too.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// From now on a signal that ends this process first ends its programs and
/// gives the terminal back. Call once, from `main`. A signal that this process was started to ignore, as `nohup` does, stays
/// ignored.
///
/// # Errors
/// If the handler cannot be installed.
pub fn handle_signals() -> Result<()> {
    let ignored = ignored();
    let ending = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP]
        .into_iter()
        .filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = signal_hook::iterator::Signals::new(ending).doing("handle signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGTSTP {
                stop();
                continue;
            }
            RECEIVED.store(signal, Ordering::SeqCst);
            let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            running.retain(|session| session.send(Event::Signal(signal)).is_ok());
            if running.is_empty() {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    });
    Ok(())
}

/// Stops the programs that run, and this one, until it is to go on.
fn stop() {
    let signal = |signal| {
        for &group in &*GROUPS.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = kill_process_group(group, signal);
        }
    };
    signal(Signal::STOP);
    let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
    signal(Signal::CONT);
}

/// A program begins to run, which leads a group.
pub(super) fn begins(program: Pid) {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).push(program);
}

/// A program has ended, or is about to be; it has not been waited for.
pub(super) fn ends(program: Pid) {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).retain(|&group| group != program);
}

/// The signals that this process ignores, one bit for each: 0 for signal 1.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).unwrap_or_default()
}

/// The signal that this process got, if any.
pub(super) fn received() -> Option<i32> {
    Some(RECEIVED.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// Keeps a signal from ending this process at once, between its sessions, too: who has it [asks](Self::check) instead.
pub struct Listener(#[expect(dead_code, reason = "a session is one that listens")] Receiver<Event>);

impl Listener {
    /// Listens from now on.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        tell(sender);
        Self(receiver)
    }

    /// Says whether this process may go on.
    ///
    /// # Errors
    /// A signal wants it to end.
    pub fn check(&self) -> Result<()> {
        received().map_or(Ok(()), |signal| {
            Err(Error { status: Status::Interrupted(signal), message: String::new() })
        })
    }
}

/// A session that begins; it is told of signals for as long as it listens.
pub(super) fn tell(session: Sender<Event>) {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(session);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No process has such a number: the numbers of Linux end below.
    #[test]
    fn what_has_begun_and_not_ended_is_to_be_stopped() {
        let [first, second] = [i32::MAX, i32::MAX - 1].map(|number| Pid::from_raw(number).unwrap());
        let runs = |program| GROUPS.lock().unwrap().contains(&program);
        begins(first);
        begins(second);
        assert!(runs(first) && runs(second));
        ends(first);
        assert!(!runs(first) && runs(second));
        ends(second);
        assert!(!runs(second));
    }
}
