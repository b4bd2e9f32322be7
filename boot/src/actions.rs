//! `boot`, `exec`, cargo's runner, and the choice between all actions.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use protocol::Record;

use crate::cli::{self, Action};
use crate::machine::events::Events;
use crate::machine::options::Options;
use crate::machine::qemu::Orders;
use crate::machine::{emulator, image};
use crate::session::judge::Purpose;
use crate::session::serial::{Output, Plain};
use crate::session::terminal::{self, Input, RawMode};
use crate::session::witness::Witness;
use crate::session::{self, How};
use crate::status::{Doing, Error, Result, Status};
use crate::suites::kernel;
use crate::suites::kernel::Tests;
use crate::{bench, cargo, dat, machine, machines, mutants, places, replay, report, rooms, soak, suites};

/// Does what the words after the program's name say.
#[must_use]
pub fn main(words: Vec<OsString>) -> Status {
    let result = ended_by_closed_output(|| {
        places::go_to_the_user()?;
        session::handle_signals()?;
        act(cli::parse(words)?.action)
    });
    result.unwrap_or_else(|error| {
        if !error.message.is_empty() {
            // Standard error may be what is closed.
            let _ = writeln!(io::stderr(), "boot: {error}");
        }
        error.status
    })
}

/// What the panics begin with by which the standard library's macros tell that nothing can be printed.
const CANNOT_PRINT: &str = "failed printing to ";

/// Does something that ends, as if it had failed, when it prints to a pipe that nobody reads any more, or to a full disk.
fn ended_by_closed_output(doing: impl FnOnce() -> Result<Status>) -> Result<Status> {
    let cannot_print = |payload: &(dyn Any + Send)| {
        payload.downcast_ref::<String>().filter(|why| why.starts_with(CANNOT_PRINT)).cloned()
    };
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |about| {
        if cannot_print(about.payload()).is_none() {
            usual(about);
        }
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(doing));
    result.unwrap_or_else(|payload| match cannot_print(&*payload) {
        Some(why) => Err(Error::failed(why)),
        None => panic::resume_unwind(payload),
    })
}

fn act(action: Action) -> Result<Status> {
    match action {
        Action::Boot(machine) => {
            emulator::check(&machine)?;
            console(&cargo::kernel()?, &machine)
        }
        Action::Exec { commands, machine } => {
            emulator::check(&machine)?;
            exec(&cargo::kernel()?, commands, &machine)
        }
        Action::Test { filter, machine } => {
            emulator::check(&machine)?;
            suites::run(&machine, filter.as_deref())
        }
        Action::Fuzz { arguments } => fuzz(&arguments),
        Action::Soak(options) => soak::run(&options),
        Action::Machines(options) => machines::run(&options),
        Action::Mutants(options) => mutants::run(&options),
        Action::Bench(options) => bench::run(&options),
        Action::Replay(options) => {
            emulator::check(&options.machine)?;
            report::of_replay(replay::run(&options)?, options.report.as_deref())
        }
        Action::Trace(options) => dat::run(&options),
        Action::Report(options) => report::run(&options),
        Action::Rooms { crates } => rooms::run(&crates),
        Action::Setup => Err(Error::usage("setup: is done by ./run.sh")),
        Action::RunElf { elf, arguments } => run_elf(&elf, arguments),
    }
}

/// Becomes the program that runs random histories.
fn fuzz(arguments: &[OsString]) -> Result<Status> {
    let error = Command::new(cargo::fuzz()?).args(arguments).exec();
    Err(error).doing("start the random histories")
}

/// Cargo's runner.
fn run_elf(elf: &Path, arguments: Vec<OsString>) -> Result<Status> {
    let Some(tests) = Tests::of(elf)? else {
        let machine = cli::parse_run_arguments(arguments)?.machine;
        emulator::check(&machine)?;
        return console(elf, &machine);
    };
    let arguments = cli::parse_test_arguments(arguments)?;
    emulator::check(&arguments.machine)?;
    if !tests.may_run(arguments.filter.as_deref()) {
        println!("0 passed, 0 failed");
        return Ok(Status::Ok);
    }
    let (verdict, took) = kernel::run(elf, &arguments.machine, arguments.filter.as_deref())?;
    println!("{} passed, {} failed ({:.1} s)", verdict.passed, verdict.failed, took.as_secs_f64());
    Ok(verdict.status)
}

/// Boots to the console on this terminal.
fn console(elf: &Path, options: &Options) -> Result<Status> {
    let image = image::of(elf, &places::target_folder("images")?)?;
    let events = Events::new()?;
    let orders =
        Orders { parameters: options.append.clone(), events: Some(events.path()), ..Orders::default() };
    let machine = machine::prepare(options, image, &orders)?.announced(elf);
    if terminal::is_interactive() {
        eprintln!("boot: Ctrl-] ends the machine");
    }
    let mut closed = None;
    let input = Input::start(options.gdb.is_some());
    loop {
        let mut witness = Witness::new(Purpose::Console)?;
        let raw = RawMode::enter()?;
        let mut ready = false;
        let mut plain = Plain::default();
        let result = session::run(machine.program(), Some(&input), machine.users_limit(), &mut |output| {
            witness.see(output);
            match output {
                // The firmware would clear the screen.
                Output::Text(text) if !ready => show(&plain.push(text), raw.is_some(), &mut closed),
                Output::Text(text) => show(text, raw.is_some(), &mut closed),
                Output::Record(Record::Console) => {
                    ready = true;
                    input.ready();
                    ControlFlow::Continue(())
                }
                Output::Record(_) | Output::Garbled(_) => ControlFlow::Continue(()),
            }
        });
        drop(raw);
        let end = result?;
        if end.how == How::EndedByUser {
            eprintln!();
        }
        let verdict = witness.close(&end);
        events.tell();
        match closed.take() {
            // Who reads no more has seen enough.
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error).doing(WRITE),
            _ if verdict.again => {}
            _ => return Ok(verdict.status),
        }
    }
}

/// Runs console commands and prints exactly what they print, on a terminal with a heading before each of several.
fn exec(elf: &Path, commands: String, options: &Options) -> Result<Status> {
    let image = image::of(elf, &places::target_folder("images")?)?;
    // For people: programs get what the commands print, and nothing else.
    let has_headings = commands.contains(';') && io::stdout().is_terminal();
    let mut is_first = true;
    let purpose = Purpose::commands(&commands);
    let events = Events::new()?;
    let orders = Orders {
        parameters: options.append.clone(),
        commands: Some(commands),
        events: Some(events.path()),
        ..Orders::default()
    };
    let machine = machine::prepare(options, image, &orders)?.announced(elf);
    let mut witness = Witness::new(purpose)?;
    let (mut place, mut closed) = (Place::Log, None);
    let start = Instant::now();
    let end = session::run(machine.program(), None, machine.limit(), &mut |output| {
        let text = witness.see(output);
        match output {
            Output::Record(Record::Console) if place == Place::Log => {
                place = Place::Output;
                if options.verbose {
                    eprintln!("boot: console ready after {:.2} s", start.elapsed().as_secs_f64());
                }
            }
            Output::Record(Record::Command { text }) if place == Place::Output && has_headings => {
                let before = if std::mem::replace(&mut is_first, false) { "" } else { "\n" };
                return show(format!("{before}== {text}\n").as_bytes(), false, &mut closed);
            }
            Output::Record(Record::CommandsDone { .. }) => place = Place::Log,
            Output::Record(Record::Panic) => place = Place::Report,
            _ => {}
        }
        match place {
            Place::Log => ControlFlow::Continue(()),
            Place::Output => show(&text, false, &mut closed),
            Place::Report => {
                let _ = io::stderr().write_all(&text);
                ControlFlow::Continue(())
            }
        }
    })?;
    if let Some(error) = closed {
        let _ = witness.verdict(&end);
        events.tell();
        return match error.kind() {
            io::ErrorKind::BrokenPipe => {
                Err(Error::failed("standard output was closed before the commands were done"))
            }
            _ => Err(error).doing(WRITE),
        };
    }
    let verdict = witness.close(&end);
    events.tell();
    Ok(verdict.status)
}

/// Where text from the machine goes, besides the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere.
    Log,
    /// To standard output.
    Output,
    /// To standard error.
    Report,
}

/// What cannot be done where a disk is full.
const WRITE: &str = "write to standard output";

/// Shows text at once; asks for the machine's end, and says why in `closed`, if it cannot.
fn show(text: &[u8], raw: bool, closed: &mut Option<io::Error>) -> ControlFlow<()> {
    let mut stdout = io::stdout().lock();
    let result = if raw { stdout.write_all(&terminal::for_raw_mode(text)) } else { stdout.write_all(text) };
    match result.and_then(|()| stdout.flush()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            *closed = Some(error);
            ControlFlow::Break(())
        }
    }
}
