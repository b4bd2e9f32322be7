//! Reads `trace.dat`, slowly and with no code of the writer: what each CPU's events are, as text.

use std::collections::HashMap;

/// An event, as a reader of the file prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub time: u64,
    pub pid: u32,
    pub task: String,
    /// System and name.
    pub name: String,
    pub text: String,
    /// How many were lost before it.
    pub lost: u64,
}

/// The file, from a place on.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        self.at += length;
        &self.all[self.at - length..self.at]
    }

    fn number(&mut self, length: usize) -> u64 {
        self.take(length).iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    fn string(&mut self) -> &'a str {
        let length = self.all[self.at..].iter().position(|&byte| byte == 0).unwrap();
        let text = std::str::from_utf8(self.take(length)).unwrap();
        self.at += 1;
        text
    }

    fn text(&mut self, length: u64) -> &'a str {
        std::str::from_utf8(self.take(length as usize)).unwrap()
    }
}

/// What a format file says.
struct Format {
    name: String,
    /// Name, offset, size, and whether signed.
    fields: Vec<(String, usize, usize, bool)>,
    print: String,
    arguments: Vec<String>,
}

fn format(system: &str, text: &str) -> (u64, Format) {
    let behind = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let (name, id) = (format!("{system}/{}", behind("name: ")), behind("ID: ").parse().unwrap());
    let of = |line: &str| {
        let parts: Vec<_> = line.strip_prefix("\tfield:")?.split(";\t").collect();
        let number = |part: &str| part.split_once(':').unwrap().1.trim_end_matches(';').parse().unwrap();
        let name = parts[0].rsplit(' ').next().unwrap().to_owned();
        let is_string = parts[0].starts_with("__data_loc char[] ");
        Some((
            if is_string { format!("${name}") } else { name },
            number(parts[1]),
            number(parts[2]),
            number(parts[3]) == 1,
        ))
    };
    let (print, arguments) = behind("print fmt: \"").split_once('"').unwrap();
    let arguments = arguments.split(", ").skip(1).map(|argument| match argument.strip_prefix("REC->") {
        Some(name) => name.to_owned(),
        None => format!("${}", argument.strip_prefix("__get_str(").unwrap().strip_suffix(')').unwrap()),
    });
    let arguments = arguments.collect();
    (id, Format { name, fields: text.lines().filter_map(of).collect(), print: print.to_owned(), arguments })
}

impl Format {
    fn value(&self, record: &[u8], name: &str) -> String {
        let (_, offset, size, is_signed) = self.fields.iter().find(|field| field.0 == name).unwrap();
        assert!(offset % size == 0, "{name} at {offset}");
        let number = Bytes { all: record, at: *offset }.number(*size);
        if name.starts_with('$') {
            let (offset, length) = (number as usize & 0xffff, number as usize >> 16);
            let (end, text) = record[offset..][..length].split_last().unwrap();
            assert_eq!(*end, 0);
            return String::from_utf8(text.to_vec()).unwrap();
        }
        match (is_signed, size) {
            (true, 4) => (number as u32 as i32).to_string(),
            (true, 8) => (number as i64).to_string(),
            _ => number.to_string(),
        }
    }

    fn print(&self, record: &[u8]) -> String {
        let mut text = String::new();
        let mut rest = self.print.as_str();
        for argument in &self.arguments {
            let (literal, behind) = rest.split_once('%').unwrap();
            text += literal;
            let value = self.value(record, argument);
            let behind = behind.trim_start_matches('l');
            text += &match &behind[..1] {
                "x" => format!("{:x}", value.parse::<u64>().unwrap()),
                _ => value,
            };
            rest = &behind[1..];
        }
        text + rest
    }
}

/// Returns the events of each CPU.
pub fn read(file: &[u8]) -> Vec<Vec<Event>> {
    let mut bytes = Bytes { all: file, at: 0 };
    assert_eq!(bytes.take(10), b"\x17\x08\x44tracing");
    assert_eq!(bytes.string(), "6");
    assert_eq!(bytes.take(2), [0, 8]);
    assert_eq!(bytes.number(4), 4096);
    for name in ["header_page", "header_event"] {
        assert_eq!(bytes.string(), name);
        let length = bytes.number(8);
        bytes.text(length);
    }
    assert_eq!(bytes.number(4), 0);
    let mut formats = HashMap::new();
    for _ in 0..bytes.number(4) {
        let system = bytes.string();
        for _ in 0..bytes.number(4) {
            let length = bytes.number(8);
            let (id, format) = format(system, bytes.text(length));
            assert!(formats.insert(id, format).is_none());
        }
    }
    assert_eq!(bytes.number(8), 0);
    let length = bytes.number(8);
    let tasks = bytes.text(length).lines().map(|line| line.split_once(' ').unwrap());
    let tasks: HashMap<u32, &str> = tasks.map(|(pid, task)| (pid.parse().unwrap(), task)).collect();
    let cpus = bytes.number(4);
    assert_eq!(bytes.take(10), b"options  \0");
    while bytes.number(2) != 0 {
        let length = bytes.number(4);
        bytes.text(length);
    }
    assert_eq!(bytes.take(10), b"flyrecord\0");
    let places: Vec<_> = (0..cpus).map(|_| (bytes.number(8) as usize, bytes.number(8) as usize)).collect();
    let mut end = bytes.at.next_multiple_of(4096);
    let cpu = |(start, length): (usize, usize)| {
        assert_eq!((start, length % 4096), (end, 0), "one behind the other, in whole pages");
        end += length;
        file[start..end].chunks(4096).flat_map(|page| read_page(page, &formats, &tasks)).collect()
    };
    let events = places.into_iter().map(cpu).collect();
    assert_eq!(end, file.len());
    events
}

fn read_page(page: &[u8], formats: &HashMap<u64, Format>, tasks: &HashMap<u32, &str>) -> Vec<Event> {
    let mut bytes = Bytes { all: page, at: 0 };
    let (mut time, commit) = (bytes.number(8), bytes.number(8));
    let end = 16 + (commit & 0x7ff_ffff) as usize;
    assert!(end > 16, "a page without records");
    let mut lost = match commit >> 30 {
        0 => 0,
        3 => Bytes { all: page, at: end }.number(8),
        other => panic!("{other}"),
    };
    let mut events = Vec::new();
    while bytes.at < end {
        let word = bytes.number(4);
        time += word >> 5;
        let length = match word & 31 {
            30 => {
                time += bytes.number(4) << 27;
                continue;
            }
            0 => bytes.number(4) as usize - 4,
            words @ 1..=28 => words as usize * 4,
            other => panic!("type {other}"),
        };
        let record = bytes.take(length);
        let format = &formats[&Bytes { all: record, at: 0 }.number(2)];
        let pid = format.value(record, "common_pid").parse().unwrap();
        let task = tasks.get(&pid).copied().unwrap_or("<...>").to_owned();
        let (name, text) = (format.name.clone(), format.print(record));
        events.push(Event { time, pid, task, name, text, lost: std::mem::take(&mut lost) });
    }
    assert_eq!(bytes.at, end);
    events
}
