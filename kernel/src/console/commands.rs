//! The table of commands, and running lines of them.

use super::{
    balance, failures,
    info::{self, lockinfo, tlbinfo, top, whatis},
    latency, perf,
    play::{areas, bytes, hold},
    power, sysctl, trace,
};
use crate::{
    command::CommandError,
    drivers::serial::{self, Filtered},
    history, println, replay,
    sync::Exclusive,
    test_vmalloc, threads,
};
use alloc::{string::String, vec::Vec};
use protocol::Record;

/// One command: its name, its arguments as `help` shows them, what it does.
pub(super) struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[&str]) -> Result<(), CommandError>,
}

const COMMANDS: &[Command] = &[
    Command { name: "help", arguments: "[CMD]", about: "lists the commands, or explains one", run: help },
    Command {
        name: "test_vmalloc",
        arguments: "[name=value ...]",
        about: test_vmalloc::ABOUT,
        run: test_vmalloc::command,
    },
    Command {
        name: "floor",
        arguments: "[name=value ...]",
        about: test_vmalloc::floor::ABOUT,
        run: test_vmalloc::floor::command,
    },
    Command {
        name: "vmap_loop",
        arguments: "[name=value ...]",
        about: test_vmalloc::vmap::ABOUT,
        run: test_vmalloc::vmap::command,
    },
    Command {
        name: "mark",
        arguments: "",
        about: test_vmalloc::mark::ABOUT,
        run: test_vmalloc::mark::command,
    },
    Command {
        name: "vmallocinfo",
        arguments: "[totals]",
        about: "lists the allocated areas, then address space, metadata and page tables in total",
        run: info::vmallocinfo,
    },
    Command {
        name: "meminfo",
        arguments: "",
        about: "counts frames: total, free, quarantined, parked, page tables, records, heap",
        run: info::meminfo,
    },
    Command {
        name: "trim",
        arguments: "",
        about: "purges, and gives back what is cached for speed: frames, blocks, page tables",
        run: info::trim,
    },
    Command { name: "balance", arguments: "[mark]", about: balance::ABOUT, run: balance::command },
    Command { name: "top", arguments: "[mark|clear]", about: top::ABOUT, run: top::top },
    Command { name: "tlbinfo", arguments: "[reset]", about: tlbinfo::ABOUT, run: tlbinfo::tlbinfo },
    Command { name: "lockinfo", arguments: "[reset]", about: lockinfo::ABOUT, run: lockinfo::lockinfo },
    Command { name: "history", arguments: "[NAME]", about: history::ABOUT, run: history::command },
    Command { name: "replay", arguments: "[name=value ...]", about: replay::ABOUT, run: replay::command },
    Command { name: "latency", arguments: "[name=value ...]", about: latency::ABOUT, run: latency::latency },
    Command {
        name: "trace",
        arguments: "on|purges|off|dump|clear|stream",
        about: trace::ABOUT,
        run: trace::trace,
    },
    Command { name: "perf", arguments: "CMD", about: perf::ABOUT, run: perf::perf },
    Command { name: "hold", arguments: "COUNT", about: hold::ABOUT, run: hold::hold },
    Command { name: "vmalloc", arguments: "SIZE", about: areas::VMALLOC, run: areas::vmalloc },
    Command { name: "vmap", arguments: "PAGES", about: areas::VMAP, run: areas::vmap },
    Command { name: "vfree", arguments: "ADDRESS", about: areas::VFREE, run: areas::vfree },
    Command { name: "peek", arguments: "ADDRESS [N]", about: bytes::PEEK, run: bytes::peek },
    Command { name: "poke", arguments: "ADDRESS BYTE", about: bytes::POKE, run: bytes::poke },
    Command {
        name: "cpus",
        arguments: "",
        about: "lists the CPUs: number, APIC id, interrupt controller, state",
        run: info::cpus,
    },
    Command {
        name: "sysctl",
        arguments: "[NAME[=VALUE] ...]",
        about: "lists the tunables, reads or sets some",
        run: sysctl::command,
    },
    Command { name: "whatis", arguments: "ADDRESS", about: whatis::ABOUT, run: whatis::whatis },
    Command { name: "poweroff", arguments: "", about: "powers the machine off", run: power::poweroff },
    Command { name: "reboot", arguments: "", about: "resets the machine", run: power::reboot },
    Command { name: "panic", arguments: "[fault]", about: power::PANIC, run: power::panic },
];

/// Runs commands separated by semicolons, one after the other; those with `&` between them at once.
pub(super) fn run_line(line: &str) {
    for commands in protocol::commands(line) {
        serial::write_record(Record::Command { text: commands });
        (0..run_beside(commands)).for_each(|_| failures::count());
    }
}

/// Runs commands that have `&` between them at once, each in a thread of its own if there are several, and waits for all.
/// Returns how many failed.
pub fn run_beside(commands: &str) -> usize {
    if !commands.contains('&') {
        return usize::from(!run_command(commands));
    }
    if let Some((_, filter)) = commands.split_once('|') {
        println!("|{filter}: the lines of all commands beside each other would be left out");
        return 1;
    }
    let begin = |command: &str| {
        let owned = String::from(command);
        let begun = threads::spawn("command", move || run_command(&owned));
        begun.map_err(|error| println!("{command}: {error}"))
    };
    // All are begun before one is waited for.
    let begun: Vec<_> =
        commands.split('&').map(str::trim).filter(|command| !command.is_empty()).map(begin).collect();
    begun.into_iter().map(|thread| thread.is_ok_and(threads::JoinHandle::join)).filter(|ok| !ok).count()
}

/// Whether the command succeeded; if not, one line was printed that says why.
fn run_command(command: &str) -> bool {
    let (command, filter) = match command.split_once('|') {
        Some((command, filter)) => (command, Some(filter)),
        None => (command, None),
    };
    let words: Vec<&str> = command.split_whitespace().collect();
    let Some((name, arguments)) = words.split_first() else { return true };
    let result = match find(name) {
        Ok(command) => filter.map(grep).transpose().and_then(|_filtered| run(command, arguments)),
        Err(error) => {
            println!("{error} (help lists them)");
            return false;
        }
    };
    if let Err(error) = &result {
        println!("{name}: {error}");
    }
    result.is_ok()
}

/// What a command has for itself while it runs: of those that have the same, one runs at a time.
fn own(name: &str) -> Option<&'static Exclusive> {
    /// The firmware's device, and the thread that purges for replays.
    static PROGRAM: Exclusive = Exclusive::new();
    /// The meter of sections, and most of the memory.
    static METER: Exclusive = Exclusive::new();
    /// The tables of samples.
    static PROFILE: Exclusive = Exclusive::new();
    match name {
        "replay" => Some(&PROGRAM),
        "history" | "latency" => Some(&METER),
        "perf" => Some(&PROFILE),
        _ => None,
    }
}

/// Runs a command, which has as many arguments as it takes.
pub(super) fn run(command: &Command, arguments: &[&str]) -> Result<(), CommandError> {
    let own = own(command.name).map(|own| own.try_take().ok_or("it, or one like it, is under way"));
    let _own = own.transpose().map_err(CommandError::new)?;
    match arguments {
        [extra, ..] if command.arguments.is_empty() => {
            Err(CommandError::new(alloc::format!("takes no arguments, not {extra}")))
        }
        _ => (command.run)(arguments),
    }
}

/// Has only those lines be written that contain the text behind `grep`.
fn grep(filter: &str) -> Result<Filtered, CommandError> {
    let text = filter.trim().strip_prefix("grep ").map(|text| text.trim().trim_matches('"'));
    let text = text.ok_or_else(|| CommandError::new("only grep TEXT can stand behind a |"))?;
    serial::filter(text).ok_or_else(|| CommandError::new(alloc::format!("{text}: longer than 64 bytes")))
}

pub(super) fn find(name: &str) -> Result<&'static Command, CommandError> {
    let found = COMMANDS.iter().find(|command| command.name == name);
    found.ok_or_else(|| CommandError::unknown("command", name, names()))
}

fn names() -> impl Iterator<Item = &'static str> + Clone {
    COMMANDS.iter().map(|command| command.name)
}

/// What a word of a line may become: the name of a command, as the first word of one, and behind `help`; or what may stand
/// behind a command. `before` is the line before the word, `word` what there is of it.
#[must_use]
pub fn complete(before: &str, word: &str) -> Vec<&'static str> {
    let command = before.rsplit([';', '&']).next().unwrap_or_default();
    let words: Vec<_> = command.split_whitespace().collect();
    let those = |words: &[&'static str]| -> Vec<_> {
        words.iter().copied().filter(|candidate| candidate.starts_with(word)).collect()
    };
    match words[..] {
        [] | ["help" | "perf"] => names().filter(|name| name.starts_with(word)).collect(),
        ["sysctl", ..] => sysctl::names().filter(|name| name.starts_with(word)).collect(),
        ["history"] => those(history::NAMES),
        ["test_vmalloc", ..] => those(test_vmalloc::WORDS),
        ["trace"] => those(&["on", "purges", "off", "dump", "clear", "stream"]),
        ["trace", "dump"] => those(&["format=text", "format=ftrace", "format=perfetto"]),
        ["panic"] => those(&["fault"]),
        ["top"] => those(&["mark", "clear"]),
        ["balance"] => those(&["mark"]),
        ["vmallocinfo"] => those(&["totals"]),
        ["tlbinfo" | "lockinfo"] => those(&["reset"]),
        _ => Vec::new(),
    }
}

fn help(arguments: &[&str]) -> Result<(), CommandError> {
    match arguments {
        [] => COMMANDS.iter().for_each(|command| {
            let usage = alloc::format!("{} {}", command.name, command.arguments);
            println!("{usage:34} {}", command.about.lines().next().unwrap_or_default());
        }),
        [name] => {
            let command = find(name)?;
            println!("{} {}", command.name, command.arguments);
            println!("{}", command.about);
        }
        [_, extra, ..] => {
            return Err(CommandError::new(alloc::format!("explains one command at a time, not {extra} too")));
        }
    }
    Ok(())
}
