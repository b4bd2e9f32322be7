//! A line of a trace, as tracefs' file `trace` and `trace-cmd report` have them.

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// An event.
    Event(Record<'a>),
    /// So many events of a CPU were lost, at least.
    Lost {
        /// The CPU.
        cpu: u16,
        /// How many.
        events: u64,
    },
    /// Nothing: a comment, a heading, an empty line.
    Nothing,
}

/// An event: when, where, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The task's name.
    pub task: &'a str,
    /// The task that ran; 0 is the idle task of each CPU.
    pub pid: u32,
    /// The CPU.
    pub cpu: u16,
    /// Nanoseconds, since the machine was started.
    pub time: u64,
    /// The event's name.
    pub name: &'a str,
    /// What stands behind the name.
    pub fields: &'a str,
}

/// Reads a line; `None` if it is none of a trace.
pub fn parse(line: &str) -> Option<Line<'_>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') || is_heading(line) {
        return Some(Line::Nothing);
    }
    if let Some(lost) = line.strip_prefix("CPU:") {
        return parse_lost(lost);
    }
    // A task's name may have any of these characters itself.
    let mut brackets = line.match_indices('[').map(|(at, _)| line.split_at(at));
    brackets.find_map(|(task, rest)| parse_event(task, rest)).map(Line::Event)
}

/// Whether `trace-cmd report` writes the line above the events.
fn is_heading(line: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let empty = line.strip_prefix("CPU ").and_then(|rest| rest.strip_suffix(" is empty"));
    let all = [line.strip_prefix("cpus="), line.strip_prefix("version = "), empty];
    all.into_iter().flatten().any(is_number)
}

/// `0 [LOST 12 EVENTS]` of tracefs, `0 [12 EVENTS DROPPED]` of trace-cmd, which may know no number.
fn parse_lost(text: &str) -> Option<Line<'_>> {
    let (cpu, what) = text.split_once(' ')?;
    let what = what.strip_prefix('[')?.strip_suffix(']')?;
    if !(what.starts_with("LOST") || what.ends_with("DROPPED")) || !what.contains("EVENTS") {
        return None;
    }
    let events = what.split(' ').find_map(|word| word.parse().ok()).unwrap_or(1);
    Some(Line::Lost { cpu: cpu.parse().ok()?, events })
}

/// `TASK-PID ` and `[CPU] FLAGS TIME: EVENT: FIELDS`.
fn parse_event<'a>(task: &'a str, rest: &'a str) -> Option<Record<'a>> {
    // With the option record-tgid a number in parentheses stands behind the task.
    let mut task = task.trim();
    if let Some((before, last)) = task.rsplit_once(char::is_whitespace)
        && last.starts_with('(')
        && last.ends_with(')')
    {
        task = before.trim_end();
    }
    let (task, pid) = task.rsplit_once('-')?;
    let pid = pid.parse().ok()?;
    let (cpu, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    // The flags may be left out.
    let (time, rest) = rest.split_once(": ").or_else(|| rest.split_once(":\t"))?;
    let mut words = time.split_whitespace().rev();
    let time = parse_time(words.next()?)?;
    if words.nth(1).is_some() {
        return None;
    }
    let (name, fields) = rest.trim_start().split_once(':')?;
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let cpu = cpu.parse().ok()?;
    is_name(name).then_some(Record { task, pid, cpu, time, name, fields: fields.trim() })
}

/// Seconds with six or nine places, as nanoseconds.
fn parse_time(text: &str) -> Option<u64> {
    let (seconds, places) = text.split_once('.')?;
    if !matches!(places.len(), 1..=9) || !places.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit = 10_u64.pow(9 - places.len() as u32);
    let nanoseconds = places.parse::<u64>().ok()? * unit;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Record<'_> {
        match parse(line) {
            Some(Line::Event(record)) => record,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn events_of_tracefs_and_of_trace_cmd() {
        let (time, fields) = (17_480_830_000, "(a) addr=0x1");
        for (task, line) in [
            ("kworker/u9:0", "   kworker/u9:0-12      [001] .Bs1.    17.480830: vfree: (a) addr=0x1"),
            ("init", "   init-12 [001]    17.480830: vfree:      (a) addr=0x1"),
            ("init", "   init-12 [001]    17.480830000: vfree: (a) addr=0x1"),
            (
                "a [0] - b: c.d",
                "   a [0] - b: c.d-12   (-------) [001] .....    17.480830: vfree: (a) addr=0x1",
            ),
            ("init", "   init-12   (12) [001] .....    17.480830: vfree: (a) addr=0x1"),
            ("(sd-pam)", "   (sd-pam)-12   (12) [001] .....    17.480830: vfree: (a) addr=0x1"),
        ] {
            assert_eq!(event(line), Record { task, pid: 12, cpu: 1, time, name: "vfree", fields }, "{line}");
        }
        let idle = "<idle>-0 [127] d.h1. 1.000001: vm_unmap_aliases: (vm_unmap_aliases+0x4/0x20)";
        assert_eq!((event(idle).pid, event(idle).cpu, event(idle).time), (0, 127, 1_000_001_000));
    }

    #[test]
    fn lines_that_are_none_of_an_event() {
        for line in ["", "# tracer: nop", "cpus=2", "version = 7", "CPU 3 is empty"] {
            assert_eq!(parse(line), Some(Line::Nothing), "{line}");
        }
        let lost = Some(Line::Lost { cpu: 1, events: 40 });
        assert_eq!(parse("CPU:1 [LOST 40 EVENTS]"), lost);
        assert_eq!(parse("CPU:1 [40 EVENTS DROPPED]"), lost);
        assert_eq!(parse("CPU:1 [EVENTS DROPPED]"), Some(Line::Lost { cpu: 1, events: 1 }));
        for line in ["hello", "[package]", "a-1 [0] x 1.2", "a-b [0] x 1.2: e: f", "a-1 [0] x 1.x: e: f"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    /// Each is almost one of an event.
    #[test]
    fn parts_that_are_cut_or_too_many_make_a_line_of_no_trace() {
        for line in [
            "a-1 [0] x y 1.2: e: f",
            "a-1 [0] 1.: e: f",
            "a-1 [0] 1.1234567890: e: f",
            "a-1 [0] 1.2x: e: f",
            "a-1 [0] 99999999999.0: e: f",
            "a-1 [0] 1.2: : f",
            "a-1 [0] 1.2: e-e: f",
            "a-1 (12 [0] 1.2: e: f",
            "a-1 12) [0] 1.2: e: f",
            "CPU:1 [LOST 4]",
            "CPU:1 [4 EVENTS]",
            "CPU:x [LOST 4 EVENTS]",
            "CPU:1 LOST 4 EVENTS]",
            "CPU:1 [LOST 4 EVENTS",
            "cpus=",
            "cpus=x",
            "version = 1x",
            "CPU  is empty",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
        let record = event("a-1 [0] x 1.2: my_event2:\tf g ");
        assert_eq!((record.time, record.name, record.fields), (1_200_000_000, "my_event2", "f g"));
        assert_eq!(event("a-1 [0] 1.2:\te:\tf").name, "e", "a tab may stand where a space may");
    }
}
