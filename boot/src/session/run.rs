//! Runs one program.

use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::end::{End, How};
use super::event::Event;
use super::patience::{Limit, Patience};
use super::serial::Output;
use super::signals;
use super::terminal::Input;
use super::watch::{Stopped, Watch};
use crate::child;
use crate::status::{Error, Result, Status};
use crate::symbols::Symbols;

/// How long a machine may take to end after its kernel has said that it does: in its own time.
const ENDING: Duration = Duration::from_secs(20);

/// How long what the program said on standard error may still come when it has ended: somebody else may have the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program to run; the symbols of the kernel that runs in it; and what is asked when its time is up, before it is
/// ended: the answer goes to what it printed on standard error.
pub struct Program<'a> {
    command: Command,
    symbols: Symbols,
    when_time_is_up: Option<Question<'a>>,
}

type Question<'a> = Box<dyn FnOnce(&Symbols) -> String + 'a>;

impl From<Command> for Program<'_> {
    fn from(command: Command) -> Self {
        Self { command, symbols: Symbols::of(None), when_time_is_up: None }
    }
}

impl<'a> Program<'a> {
    /// The program, in which a kernel with these symbols runs.
    #[must_use]
    pub fn of(self, symbols: Symbols) -> Self {
        Self { symbols, ..self }
    }

    /// The program, of which that is asked when its time is up.
    #[must_use]
    pub fn asking(self, when_time_is_up: impl FnOnce(&Symbols) -> String + 'a) -> Self {
        Self { when_time_is_up: Some(Box::new(when_time_is_up)), ..self }
    }
}

/// Runs `program` to its end. `sink` gets what it prints, and may ask for its
/// end. With `input` its standard input is the user's.
///
/// # Errors
/// If the program cannot be started, of status 4 if it is not there; if a
/// signal to this process ended it.
///
/// # Panics
/// Never: the streams it takes are those it asked for.
pub fn run<'a>(
    program: impl Into<Program<'a>>,
    input: Option<&Input>,
    limit: Limit,
    sink: &mut dyn FnMut(Output<'_>) -> ControlFlow<()>,
) -> Result<End> {
    run_and_end(program.into(), input, limit, ENDING, sink)
}

/// Runs `program` to its end, which comes within `ending` after its kernel has said that it does.
fn run_and_end(
    program: Program<'_>,
    input: Option<&Input>,
    limit: Limit,
    ending: Duration,
    sink: &mut dyn FnMut(Output<'_>) -> ControlFlow<()>,
) -> Result<End> {
    let Program { mut command, symbols, when_time_is_up } = program;
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    child::ends_with_this_process(&mut command);
    let start = Instant::now();
    let child = command.spawn().map_err(|error| {
        let program = command.get_program().display();
        match error.kind() {
            std::io::ErrorKind::NotFound => Error::unfit(format!("{program} is not installed")),
            _ => Error::failed(format!("cannot start {program}: {error}")),
        }
    })?;
    signals::begins(Pid::from_child(&child));
    let mut child = Guarded(child);
    let (sender, receiver) = mpsc::channel();
    signals::tell(sender.clone());

    let stderr = child.0.stderr.take().expect("is piped");
    let (errors, said) = mpsc::channel();
    thread::spawn(move || forward(stderr, |bytes| bytes.is_some_and(|bytes| errors.send(bytes).is_ok())));
    let stdout = child.0.stdout.take().expect("is piped");
    if let (Some(input), Some(stdin)) = (input, child.0.stdin.take()) {
        input.attach(stdin, sender.clone());
    }
    thread::spawn(move || {
        forward(stdout, |bytes| sender.send(bytes.map_or(Event::Closed, Event::Bytes)).is_ok());
    });

    let mut watch = Watch { receiver, patience: Patience::new(limit, child.0.id()), ending };
    let how = watch.until_end(&child.0, &symbols, sink);
    let took = start.elapsed();
    let asked = when_time_is_up.filter(|_| matches!(how, Stopped::By(How::TimedOut)));
    let answer = asked.map_or_else(String::new, |ask| ask(&symbols));
    if let Some(input) = input {
        input.detach();
    }
    // Ends the program if it still runs, and so its standard error.
    drop(child);
    // From here on a signal ends this process at once: nobody listens any more. One that came since the last look is
    // still to be obeyed.
    drop(watch);
    match signals::received().map_or(how, Stopped::BySignal) {
        Stopped::By(how) => Ok(End { how, stderr: last_words(&said) + &answer, took }),
        Stopped::BySignal(signal) => {
            Err(Error { status: Status::Interrupted(signal), message: String::new() })
        }
    }
}

/// A program that does not outlive the value, nor do those that it started: a script that starts QEMU would leave it.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It leads a group of its own, whose number is nobody else's while it has not been waited for.
        signals::ends(Pid::from_child(&self.0));
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Gives what comes `from` a program to `take`, piece by piece, for as long as that returns `true`, and `None` at the end.
fn forward(mut from: impl Read, mut take: impl FnMut(Option<Vec<u8>>) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let bytes = match from.read(&mut buffer) {
            Ok(length @ 1..) => Some(buffer[..length].to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok(_) | Err(_) => None,
        };
        let last = bytes.is_none();
        if !take(bytes) || last {
            return;
        }
    }
}

/// What a program that has ended said on standard error.
fn last_words(said: &Receiver<Vec<u8>>) -> String {
    let (mut text, until) = (Vec::new(), Instant::now() + LAST_WORDS);
    while let Ok(bytes) = said.recv_timeout(until.saturating_duration_since(Instant::now())) {
        text.extend(bytes);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sh(script: &str, limit: Limit) -> (How, String, End) {
        sh_and_end(script, limit, ENDING)
    }

    fn sh_and_end(script: &str, limit: Limit, ending: Duration) -> (How, String, End) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let mut text = String::new();
        let end = run_and_end(command.into(), None, limit, ending, &mut |output| {
            text += &match output {
                Output::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("<{other:?}>"),
            };
            ControlFlow::Continue(())
        })
        .unwrap();
        (end.how, text, end)
    }

    #[test]
    fn status_output_and_errors_are_told() {
        let (how, text, end) = sh(r"printf 'a\n\036tests 2\nb'; echo bad >&2; exit 33", Limit::None);
        assert_eq!((how, text.as_str()), (How::Exited(33), "a\n<Record(Tests { count: 2 })>b"));
        assert_eq!(end.stderr, "bad\n");
    }

    #[test]
    fn output_is_passed_on_until_nobody_wants_it_or_there_is_none() {
        let mut pieces = 0;
        let stop = |_: Option<Vec<u8>>| {
            pieces += 1;
            false
        };
        forward(std::io::repeat(7), stop);
        assert_eq!(pieces, 1);
        /// Is interrupted once, then says something, then fails.
        struct Halting(u32);
        impl Read for Halting {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.0 += 1;
                buffer[0] = 7;
                match self.0 {
                    1 => Err(std::io::ErrorKind::Interrupted.into()),
                    2 => Ok(1),
                    _ => Err(std::io::ErrorKind::Other.into()),
                }
            }
        }
        let mut said = Vec::new();
        forward(Halting(0), |piece| {
            said.push(piece);
            true
        });
        assert_eq!(said, [Some(vec![7]), None]);
    }

    #[test]
    fn last_words_are_waited_for() {
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            let _ = sender.send(b"late".to_vec());
        });
        assert_eq!(last_words(&said), "late");
    }

    /// Seen failing with the question put after the program was ended.
    #[test]
    fn a_program_whose_time_is_up_is_asked_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("echo $$ > {}; exec sleep 600", mark.display())).stdin(Stdio::null());
        let ask = |_: &Symbols| {
            let process = std::fs::read_to_string(&mark).unwrap();
            format!("it runs: {}", std::path::Path::new("/proc").join(process.trim()).exists())
        };
        let limit = Limit::All(Duration::from_millis(400));
        let end =
            run(Program::from(command).asking(ask), None, limit, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((end.how, end.stderr.as_str()), (How::TimedOut, "it runs: true"));
        let quick = Program::from(Command::new("true")).asking(|_| unreachable!("it has ended"));
        run(quick, None, Limit::None, &mut |_| ControlFlow::Continue(())).unwrap();
    }

    #[test]
    fn a_silent_program_is_ended_in_time() {
        assert_eq!(sh("exec sleep 600", Limit::All(Duration::from_millis(200))).0, How::TimedOut);
    }

    #[test]
    fn a_program_that_closes_its_output_and_stays_is_ended_in_time() {
        let script = "exec sleep 600 >&- 2>&-";
        assert_eq!(sh(script, Limit::All(Duration::from_millis(200))).0, How::TimedOut);
    }

    /// Seen failing: with the program alone killed, and its standard error read to the end, it waited for ever.
    #[test]
    fn what_a_program_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", mark.display());
        let (how, _, end) = sh(&script, Limit::All(Duration::from_millis(400)));
        assert_eq!((how, end.stderr.as_str()), (How::TimedOut, ""));
        let process = Path::new("/proc").join(std::fs::read_to_string(&mark).unwrap().trim());
        let state = || std::fs::read_to_string(process.join("stat")).unwrap_or_default();
        // Who has become its parent may not have waited for it yet.
        for _ in 0..1000 {
            if state().is_empty() || state().contains(") Z ") {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it runs: {}", state());
    }

    #[test]
    fn a_program_that_never_stops_talking_is_ended_in_time() {
        let (how, ..) = sh("exec yes", Limit::All(Duration::from_millis(200)));
        assert_eq!(how, How::TimedOut);
    }

    #[test]
    fn a_machine_whose_kernel_has_said_its_last_and_goes_on_is_no_time_out() {
        let long = Duration::from_secs(600);
        for (last, limit) in [
            ("tests-done 1", Limit::Silent(long)),
            ("commands-done 0", Limit::All(long)),
            ("panic", Limit::None),
            ("reboot", Limit::None),
        ] {
            let script = format!(r"printf '\036{last}\n'; exec sleep 600");
            assert_eq!(sh_and_end(&script, limit, Duration::ZERO).0, How::NotEnded, "{last}");
        }
    }

    #[test]
    fn a_signal_is_no_exit_status() {
        assert_eq!(sh("kill -9 $$", Limit::None).0, How::Signalled(9));
    }

    #[test]
    fn the_receiver_may_end_it() {
        let mut command = Command::new("yes");
        command.stdin(Stdio::null());
        let end = run(command, None, Limit::None, &mut |_| ControlFlow::Break(())).unwrap();
        assert_eq!(end.how, How::EndedByUser);
    }

    #[test]
    fn a_program_that_is_not_there_is_what_the_machine_lacks() {
        let error =
            run(Command::new("/nosuch"), None, Limit::None, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error.status, Status::Unfit);
        assert!(error.message.contains("/nosuch"));
    }
}
