//! Where the CPUs of a machine are whose time is up: asked of QEMU, and told as functions, files and lines.
//!
//! QEMU answers while its CPUs run, whatever they do. The way to where a CPU is, is read off its stack: each word there that
//! is the address behind a call. Some of them may be left from earlier calls.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::symbols::Symbols;

/// How long QEMU may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Words of a stack that are looked at.
const WORDS: usize = 384;

/// Tells where the CPUs of the machine are whose monitor this is, which runs the kernel that has these symbols: lines of
/// text, or one that says why that cannot be told.
pub fn tell(monitor: &Path, symbols: &Symbols) -> String {
    let told = Monitor::connect(monitor).and_then(|mut monitor| {
        let registers = monitor.ask("info registers -a", 0)?;
        let mut text = String::from("boot: time is up; the CPUs are at\n");
        for (cpu, (rip, rsp)) in cpus(&registers).into_iter().enumerate() {
            let stack = monitor.ask(&format!("x /{WORDS}gx {rsp:#x}"), cpu)?;
            text += &symbols.backtrace(cpu, rip, words(&stack));
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
        let told = tell(Path::new("/nosuch/monitor"), &Symbols::of(None));
        assert!(told.starts_with("boot: time is up; where the CPUs are QEMU does not say: "), "{told}");
    }
}
