//! The figures of a replay, for the table and for JSON.

use super::linux::Linux;
use super::reply::Reply;
use crate::bench::experiments::replayed::{Recording, Replayed, Row, Skipped};

/// What the kernel's answer is put beside.
#[derive(Debug)]
pub struct Trace<'a> {
    /// The file's name.
    pub name: String,
    /// What Linux did.
    pub linux: &'a Linux,
    /// Nanoseconds from the first call to the last.
    pub nanoseconds: u64,
    /// Calls that were made of it.
    pub calls: u64,
}

/// How the calls were made.
#[derive(Debug)]
pub struct Run {
    /// The machine, in words.
    pub machine: String,
    /// Nanoseconds of an instruction, where they are counted.
    pub instruction: Option<u64>,
    /// Times that the trace was replayed.
    pub loops: u32,
}

impl Replayed {
    /// Puts the kernel's answer beside Linux's counts; `None` if the kernel did not tell all.
    pub fn new(trace: &Trace<'_>, run: Run, reply: &Reply, skipped: Skipped) -> Option<Self> {
        let linux = trace.linux;
        let kilohertz = reply.get("run", "kilohertz")?;
        // A cycle in nanoseconds or instructions.
        let cycle = 1e6 / kilohertz.max(1) as f64 / run.instruction.unwrap_or(1) as f64;
        let call = |name: &str, linux: u64| {
            let calls = reply.get(name, "calls")?;
            let cost =
                (calls > 0).then(|| reply.get(name, "cycles").map(|all| all as f64 * cycle / calls as f64));
            Some(Row { name: name.to_owned(), here: Some(calls), linux: Some(linux), cost: cost.flatten() })
        };
        let here = |name: &str, line: &str, what: &str, linux| {
            Some(Row { name: name.to_owned(), here: Some(reply.get(line, what)?), linux, cost: None })
        };
        let failed = ["vmalloc", "vmap", "vm_map_ram"].map(|name| reply.get(name, "failed"));
        let failed = failed.into_iter().sum::<Option<u64>>()?;
        let space = linux.space;
        let rows = vec![
            call("vmalloc", linux.made.vmalloc)?,
            call("vfree", linux.freed.vmalloc)?,
            call("vmap", linux.made.vmap)?,
            call("vunmap", linux.freed.vmap)?,
            call("vm_map_ram", linux.made.ram)?,
            call("vm_unmap_ram", linux.freed.ram)?,
            call("vm_unmap_aliases", linux.aliases)?,
            here("pages of vmalloc", "vmalloc", "pages", Some(linux.pages.vmalloc))?,
            here("pages of vmap", "vmap", "pages", Some(linux.pages.vmap))?,
            here("pages of vm_map_ram", "vm_map_ram", "pages", Some(linux.pages.ram))?,
            Row { name: "failures".into(), here: Some(failed), linux: Some(linux.failed), cost: None },
            here("purges", "purges", "purges", space.map(|space| space.purges))?,
            here("purged pages", "purges", "pages", None)?,
            Row {
                name: "purged areas".into(),
                here: None,
                linux: space.map(|space| space.purged),
                cost: None,
            },
            here("most lazy pages", "purges", "most_waiting", space.map(|space| space.lazy_peak))?,
            here("most pages of address space", "space", "peak", space.map(|space| space.peak))?,
            here("largest free run at the end, pages", "space", "largest_free_run", None)?,
            here("interrupts to flush", "flushes", "interrupts", None)?,
            here("full flushes", "flushes", "full", None)?,
            here("flushes of a page", "flushes", "single", None)?,
        ];
        Some(Self {
            trace: trace.name.clone(),
            machine: run.machine,
            cpus: reply.get("run", "cpus")?,
            loops: run.loops,
            calls: trace.calls,
            recorded_seconds: trace.nanoseconds as f64 / 1e9,
            seconds: reply.get("run", "microseconds")? as f64 / 1e6,
            unit: if run.instruction.is_some() { "instructions a call" } else { "ns a call" }.to_owned(),
            rows,
            skipped,
            recording: Recording::default(),
        })
    }

    /// Returns the line above the table.
    pub fn head(&self) -> String {
        let Self { trace, machine, cpus, loops, calls, recorded_seconds, seconds, .. } = self;
        let cpus = if *cpus == 1 { "1 CPU".to_owned() } else { format!("{cpus} CPUs") };
        let times = if *loops == 1 { String::new() } else { format!(", {loops} times") };
        format!(
            "{trace}: {calls} calls of {recorded_seconds:.1} s on Linux, made in {seconds:.3} s on {cpus}{times}; \
             {machine}"
        )
    }

    /// Returns a line for each kind of events that gave no calls, and for what the columns do not say.
    pub fn notes(&self) -> Vec<String> {
        let Skipped { unknown, unpaired, unseen, lost, other } = &self.skipped;
        let told = [
            (unknown, "frees of what was there before the trace, left out"),
            (unpaired, "calls or returns whose other half is not there, left out"),
            (unseen, "frees that the trace does not show, made where an address was given out again"),
            (lost, "events that the trace says were lost"),
            (other, "events of other kinds"),
        ];
        let counted = told.iter().filter(|(count, _)| **count > 0);
        let mut notes: Vec<_> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        if self.loops > 1 {
            notes.push(format!("here: all {} loops together; Linux: the trace once", self.loops));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel printed.
    const ANSWER: &str = "vmalloc: calls 1184 failed 0 pages 19711 cycles 2368000
vfree: calls 1125 failed 0 pages 17315 cycles 9173576
vmap: calls 43 failed 1 pages 6814 cycles 3139344
vunmap: calls 41 failed 0 pages 6812 cycles 3648202
vm_map_ram: calls 984 failed 2 pages 3072 cycles 4974288
vm_unmap_ram: calls 0 failed 0 pages 3072 cycles 0
vm_unmap_aliases: calls 929 failed 0 pages 0 cycles 28297476
purges: purges 929 pages 33843 most_waiting 7373
flushes: interrupts 84 full 136 single 542
space: peak 4214 used 3522 largest_free_run 16765440 total 16777216
run: microseconds 82967 cpus 2 kilohertz 2000000
";

    fn figures(answer: &str, instruction: Option<u64>) -> Option<Replayed> {
        let linux = Linux::default();
        let trace = Trace { name: "t".into(), linux: &linux, nanoseconds: 1_500_000_000, calls: 7 };
        let run = Run { machine: "m".into(), instruction, loops: 2 };
        Replayed::new(&trace, run, &Reply::parse(answer)?, Skipped { lost: 3, ..Skipped::default() })
    }

    #[test]
    fn costs_are_of_a_call_in_nanoseconds_or_instructions() {
        let cost = |figures: Replayed, row: usize| figures.rows[row].cost;
        assert_eq!(cost(figures(ANSWER, None).unwrap(), 0), Some(1000.0));
        assert_eq!(cost(figures(ANSWER, Some(64)).unwrap(), 0), Some(1000.0 / 64.0));
        assert_eq!(cost(figures(ANSWER, None).unwrap(), 5), None, "none was made");
        let all = figures(ANSWER, None).unwrap();
        let failures = all.rows.iter().find(|row| row.name == "failures").unwrap();
        assert_eq!((failures.here, all.notes().len()), (Some(3), 2));
    }

    #[test]
    fn an_answer_that_lacks_a_line_gives_no_figures() {
        for line in ANSWER.lines() {
            let answer = ANSWER.replace(line, "");
            assert!(figures(&answer, None).is_none(), "{line}");
        }
    }

    #[test]
    fn the_line_above_the_table_and_those_below_say_what_was_done() {
        let mut all = figures(ANSWER, None).unwrap();
        assert_eq!(all.head(), "t: 7 calls of 1.5 s on Linux, made in 0.083 s on 2 CPUs, 2 times; m",);
        assert_eq!(
            all.notes(),
            ["3 events that the trace says were lost", "here: all 2 loops together; Linux: the trace once"]
        );
        (all.cpus, all.loops, all.skipped) = (1, 1, Skipped::default());
        assert_eq!(all.head(), "t: 7 calls of 1.5 s on Linux, made in 0.083 s on 1 CPU; m");
        assert!(all.notes().is_empty());
    }
}
