//! Where the CPUs of a machine are whose time is up: asked of QEMU, and told as functions, files and lines.
//!
//! QEMU answers while its CPUs run, whatever they do. The way to where a CPU is, is read off its stack: each word there that
//! is the address behind a call. Some of them may be left from earlier calls.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::symbols::Symbols;

/// How long QEMU may take for an answer. On a busy computer, and with many CPUs, it takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Words of a stack that are looked at.
const WORDS: usize = 384;

/// Tells where the CPUs of the machine are whose monitor this is, which runs the kernel that has these symbols: lines of
/// text, or one that says why that cannot be told.
pub fn tell(monitor: &Path, symbols: &Symbols) -> String {
    tell_within(PATIENCE, monitor, symbols)
}

fn tell_within(patience: Duration, monitor: &Path, symbols: &Symbols) -> String {
    let mut text = String::new();
    let told = Monitor::connect(monitor, patience).and_then(|mut monitor| {
        let registers = monitor.ask("info registers -a", 0)?;
        text += "boot: time is up; the CPUs are at\n";
        for (cpu, (rip, rsp)) in cpus(&registers).into_iter().enumerate() {
            let stack = monitor.ask(&format!("x /{WORDS}gx {rsp:#x}"), cpu)?;
            text += &symbols.backtrace(cpu, rip, words(&stack));
        }
        Ok(())
    });
    match told {
        Ok(()) => {}
        // So a read tells that the time is up.
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            text += &format!("boot: time is up; QEMU does not answer in {patience:?} where the CPUs are\n");
        }
        Err(error) => text += &format!("boot: time is up; where the CPUs are QEMU does not say: {error}\n"),
    }
    text
}

/// QEMU's monitor, by its machine protocol (QEMU, docs/interop/qmp-spec).
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn connect(path: &Path, patience: Duration) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
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
                return Err(ErrorKind::UnexpectedEof.into());
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
    use std::os::unix::net::UnixListener;

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

    /// It answers two requests of three, then never again: what it said is told, and that it said no more.
    #[test]
    fn a_monitor_that_stops_to_answer_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor");
        let listener = UnixListener::bind(&path).unwrap();
        let monitor = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"{\"QMP\": {}}\n{\"return\": {}}\n").unwrap();
            stream
                .write_all(b"{\"return\": \"\\nCPU#0\\nRSP=0000000000000010\\nRIP=00000000000fff00\"}\n")
                .unwrap();
            stream
        });
        let told = tell_within(Duration::from_millis(50), &path, &Symbols::of(None));
        let expected = "boot: time is up; the CPUs are at\n\
                        boot: time is up; QEMU does not answer in 50ms where the CPUs are\n";
        assert_eq!(told, expected);
        drop(monitor.join().unwrap());
    }
}
