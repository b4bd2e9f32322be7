//! Where the CPUs of a machine are whose time is up: asked of QEMU, and told as functions, files and lines.
//!
//! QEMU answers while its CPUs run, whatever they do. The way to where a CPU is, is read off its stack: each word there that
//! is the address behind a call. Some of them may be left from earlier calls.

use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, Error, LittleEndian};
use object::{Object, ObjectSection};
use serde_json::{Value, json};

use super::qemu::IMAGE_START;

/// How long QEMU may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Words of a stack that are looked at.
const WORDS: usize = 384;
/// Callers of a CPU that are told, at the most.
const CALLERS: usize = 12;

/// Tells where the CPUs of the machine are whose monitor this is, which runs the kernel `elf`: lines of text, or one that
/// says why that cannot be told.
pub fn tell(monitor: &Path, elf: Option<&Path>) -> String {
    let told = Monitor::connect(monitor).and_then(|mut monitor| {
        let bytes = elf.and_then(|elf| std::fs::read(elf).ok()).unwrap_or_default();
        let symbols = Symbols::read(&bytes);
        let registers = monitor.ask("info registers -a", 0)?;
        let mut text = String::from("boot: time is up; the CPUs are at\n");
        for (cpu, (rip, rsp)) in cpus(&registers).into_iter().enumerate() {
            let stack = monitor.ask(&format!("x /{WORDS}gx {rsp:#x}"), cpu)?;
            text += &format!("  CPU {cpu}  {}\n", place(symbols.as_ref(), rip));
            let calls =
                words(&stack).filter(|word| symbols.as_ref().is_some_and(|all| all.is_behind_call(*word)));
            for caller in calls.take(CALLERS) {
                text += &format!("    by   {}\n", place(symbols.as_ref(), caller - 1));
            }
        }
        Ok(text)
    });
    told.unwrap_or_else(|error| format!("boot: time is up; where the CPUs are QEMU does not say: {error}\n"))
}

/// QEMU's monitor, by its machine protocol (QEMU, docs/interop/qmp-spec).
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn connect(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut monitor = Self(BufReader::new(stream));
        monitor.call(&json!({ "execute": "qmp_capabilities" }))?;
        Ok(monitor)
    }

    /// Gives a command of the monitor for people, of one CPU, and returns what it prints.
    fn ask(&mut self, command: &str, cpu: usize) -> std::io::Result<String> {
        let arguments = json!({ "command-line": command, "cpu-index": cpu });
        let answer = self.call(&json!({ "execute": "human-monitor-command", "arguments": arguments }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    fn call(&mut self, request: &Value) -> std::io::Result<Value> {
        writeln!(self.0.get_mut(), "{request}")?;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            // A greeting and events come in between.
            let answer: Value = serde_json::from_str(&line)?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                return Err(std::io::Error::other(error.to_string()));
            }
        }
    }
}

/// RIP and RSP of each CPU, in what `info registers -a` prints.
fn cpus(registers: &str) -> Vec<(u64, u64)> {
    let value = |cpu: &str, name: &str| {
        let behind = cpu.split(name).nth(1)?;
        u64::from_str_radix(behind.get(..16)?, 16).ok()
    };
    let parts = registers.split("CPU#").skip(1);
    parts.filter_map(|cpu| Some((value(cpu, "RIP=")?, value(cpu, "RSP=")?))).collect()
}

/// The words that `x /Ngx` prints, behind their addresses.
fn words(stack: &str) -> impl Iterator<Item = u64> {
    let words =
        stack.lines().filter_map(|line| line.split_once(':')).flat_map(|(_, words)| words.split_whitespace());
    words.filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
}

/// What a kernel's file tells of its addresses.
struct Symbols<'a> {
    lines: Context<EndianSlice<'a, LittleEndian>>,
    /// The code, and where it is in memory.
    code: &'a [u8],
    range: Range<u64>,
}

impl<'a> Symbols<'a> {
    /// `None`: the bytes are no kernel's file, or one without code.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let file = object::File::parse(bytes).ok()?;
        let text = file.section_by_name(".text")?;
        let start = IMAGE_START + text.address();
        let code = text.data().ok()?;
        let dwarf = Dwarf::load(|section| {
            let data = file.section_by_name(section.name()).and_then(|section| section.data().ok());
            Ok::<_, Error>(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
        });
        let lines = Context::from_dwarf(dwarf.ok()?).ok()?;
        Some(Self { lines, range: start..start + code.len() as u64, code })
    }

    /// Whether a call ends where an address begins: of an address in the instruction, or in a register or memory.
    fn is_behind_call(&self, address: u64) -> bool {
        if !self.range.contains(&address) {
            return false;
        }
        let before = &self.code[..(address - self.range.start) as usize];
        let is_at = |back: usize, first: u8, second: Option<u8>| {
            let Some(start) = before.len().checked_sub(back) else { return false };
            // ModRM with 2 in its middle is CALL.
            before[start] == first && second.is_none_or(|kind| before[start + 1] >> 3 & 7 == kind)
        };
        is_at(5, 0xe8, None) || [2, 3, 4, 6, 7].into_iter().any(|back| is_at(back, 0xff, Some(2)))
    }
}

/// A function with its file and line; the address alone if nothing is known of it.
fn place(symbols: Option<&Symbols<'_>>, address: u64) -> String {
    let named = || {
        let symbols = symbols.filter(|symbols| symbols.range.contains(&address))?;
        let mut frames = symbols.lines.find_frames(address - IMAGE_START).skip_all_loads().ok()?;
        let frame = frames.next().ok()??;
        let function = frame.function.and_then(|name| name.demangle().ok().map(|name| name.into_owned()));
        let location = frame.location?;
        // Inlined ones first: the line is what was asked for, and the function that it stands in.
        let (file, line) = (location.file?.to_owned(), location.line.unwrap_or(0));
        let root = crate::places::root();
        let file =
            Path::new(&file).strip_prefix(root).map_or(file.clone(), |file| file.display().to_string());
        Some(format!("{} {file}:{line}", function.unwrap_or_else(|| "?".to_owned())))
    };
    named().unwrap_or_else(|| format!("{address:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_and_words_are_read() {
        let registers = "\nCPU#0\nRAX=0000000000000001 RSP=ffffc90000040f00\nRIP=ffffffff80001234 RFL=1\n\n\
                         CPU#1\nRSP=0000000000000010 X\nRIP=00000000000fff00 Y";
        assert_eq!(cpus(registers), [(0xffff_ffff_8000_1234, 0xffff_c900_0004_0f00), (0xfff00, 0x10)]);
        let stack = "ffffc90000040f00: 0x0000000000000001 0xffffffff80001234\r\nffffc90000040f10: 0x2\r\n";
        assert_eq!(words(stack).collect::<Vec<_>>(), [1, 0xffff_ffff_8000_1234, 2]);
        assert_eq!(words("Cannot access memory").count(), 0);
    }

    #[test]
    fn a_monitor_that_is_not_there_is_said() {
        let told = tell(Path::new("/nosuch/monitor"), None);
        assert!(told.starts_with("boot: time is up; where the CPUs are QEMU does not say: "), "{told}");
    }
}
