//! The console's `latency`: how late threads of the highest class are woken while others allocate.

use serde::{Deserialize, Serialize};

use crate::bench::ours::{self, MEMORY, Machines};
use crate::status::Result;

use super::{Experiment, columns};

/// An instruction takes 4 ns, about as on a slow computer. Nothing else takes time, so each run is the same.
const SHIFT: u8 = 2;

/// The four cases that allocate most, meanwhile.
const COMMAND: &str = "latency seconds=4 load=15";

/// Wake-ups by how late they were, in microseconds: from the first number on, below the second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Microseconds, at least.
    pub from: u64,
    /// Microseconds, less than this.
    pub to: u64,
    /// How many wake-ups were so late.
    pub count: u64,
}

/// How late the wake-ups on a CPU were, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delays {
    /// The CPU's number.
    pub cpu: u64,
    /// How many there were.
    pub wake_ups: u64,
    /// The least.
    pub least: f64,
    /// Half of all are no later.
    pub median: f64,
    /// All but one of a thousand are no later.
    pub thousandth: f64,
    /// The greatest.
    pub greatest: f64,
}

/// What there is to tell of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Of each CPU.
    pub delays: Vec<Delays>,
    /// Of all CPUs together.
    pub histogram: Vec<Bucket>,
    /// Microseconds of the longest section with preemption off.
    pub unpreempted: f64,
}

/// Runs it; what it prints goes to `text` too. There is one row, that of the machine.
///
/// # Errors
/// The machine could not be started, or a signal wants this program to end.
pub fn run(machines: &Machines, text: &mut String) -> Result<Experiment<Latency>> {
    super::run(machines, &ours::counted(SHIFT, MEMORY), COMMAND, text, |text| Ok(vec![read(text)?]))
}

fn read(text: &str) -> std::result::Result<Latency, String> {
    let mut latency = Latency { delays: Vec::new(), histogram: Vec::new(), unpreempted: 0.0 };
    let mut part = Part::Delays;
    for line in text.lines() {
        part = match line {
            "longest with preemption off:" => Part::Preemption,
            "longest with interrupts off:" => Part::Other,
            _ if line.starts_with("load: ") => Part::Other,
            // The heads.
            _ if line.starts_with("us ") => Part::Delays,
            _ if line.split_whitespace().eq(["us", "wake-ups"]) => Part::Histogram,
            _ => {
                let understood = match part {
                    Part::Delays => delays(line).map(|delays| latency.delays.push(delays)),
                    Part::Histogram => bucket(line).map(|bucket| latency.histogram.push(bucket)),
                    Part::Preemption => {
                        section(line).map(|us| latency.unpreempted = latency.unpreempted.max(us))
                    }
                    Part::Other => Some(()),
                };
                understood.ok_or_else(|| format!("printed {line:?}"))?;
                continue;
            }
        };
    }
    let wake_ups: u64 = latency.delays.iter().map(|delays| delays.wake_ups).sum();
    let counted: u64 = latency.histogram.iter().map(|bucket| bucket.count).sum();
    match wake_ups {
        0 => Err("printed no wake-ups".into()),
        _ if wake_ups != counted => Err(format!("printed {wake_ups} wake-ups, and {counted} by delay")),
        _ => Ok(latency),
    }
}

/// A part of what is printed.
#[derive(Clone, Copy)]
enum Part {
    Delays,
    Preemption,
    Histogram,
    /// Nothing that is read here.
    Other,
}

fn delays(line: &str) -> Option<Delays> {
    let (cpu, [wake_ups, least, median, thousandth, greatest]) = columns(line)?;
    Some(Delays {
        cpu: cpu.strip_prefix("CPU ")?.parse().ok()?,
        wake_ups: wake_ups.parse().ok()?,
        least: least.parse().ok()?,
        median: median.parse().ok()?,
        thousandth: thousandth.parse().ok()?,
        greatest: greatest.parse().ok()?,
    })
}

fn bucket(line: &str) -> Option<Bucket> {
    let (_, [from, "..", to, count]) = columns(line)? else { return None };
    Some(Bucket { from: from.parse().ok()?, to: to.parse().ok()?, count: count.parse().ok()? })
}

fn section(line: &str) -> Option<f64> {
    let (us, _) = line.strip_prefix("CPU ")?.split_once(" us ")?;
    us.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
us      wake-ups       min    median    99.9 %       max
CPU 0       2000       6.9       7.5      64.0      68.1
CPU 12         3       1.0       2.0       3.5       3.5
longest with preemption off:
CPU 0       67.7 us      67608 cycles, began kernel/src/memory/frames.rs:199, ended 0x33bf5
CPU 12      70.1 us      70000 cycles, began kernel/src/memory/frames.rs:199, ended 0x33bf5
longest with interrupts off:
CPU 0        6.4 us       6304 cycles, began kernel/src/threads/scheduler/schedule.rs:87, ended 0xaf231
       us     wake-ups
        0 ..         1         3
        1 ..         2      1999
        2 ..         4         1
load: 56 runs of cases, 0 failed
";

    #[test]
    fn each_part_of_what_is_printed_is_read() {
        let latency = read(PRINTED).unwrap();
        assert_eq!(latency.delays.len(), 2);
        let delays = Delays { cpu: 12, wake_ups: 3, least: 1.0, median: 2.0, thousandth: 3.5, greatest: 3.5 };
        assert_eq!(latency.delays[1], delays);
        assert_eq!(latency.histogram[1], Bucket { from: 1, to: 2, count: 1999 });
        assert_eq!(latency.unpreempted, 70.1);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let without = |part: &str| read(&PRINTED.replace(part, "")).unwrap_err();
        assert_eq!(without("        2 ..         4         1\n"), "printed 2003 wake-ups, and 2002 by delay");
        assert_eq!(read(""), Err("printed no wake-ups".into()));
        assert!(without(" ..         2").contains("1999"), "the line is quoted");
        assert_eq!(read(&PRINTED.replace("      68.1", "")).unwrap_err().get(..14), Some("printed \"CPU 0"));
    }
}
