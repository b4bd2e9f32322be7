//! Reads what the benchmark driver prints, ours or that of Linux.

/// One `Summary` line: a case as one worker ran it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The case's name.
    pub name: String,
    /// Runs that were good.
    pub passed: u64,
    /// Runs that were not.
    pub failed: u64,
    /// Runs that ended early, as the case may.
    pub xfailed: u64,
    /// Loops of a run.
    pub loops: u64,
    /// Microseconds of a run, on the average.
    pub usec: u64,
}

/// What one run of the driver printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Each worker's cases.
    pub summaries: Vec<Summary>,
    /// Interrupts that made CPUs flush; ours only, as the next two.
    pub interrupts: u64,
    /// Flushes, full or of a page.
    pub flushes: u64,
    /// Times that somebody waited for a lock.
    pub lock_waits: u64,
}

impl Run {
    /// Microseconds from when the workers were let go until the last one was done with the case.
    ///
    /// # Errors
    /// Why that says nothing: a run failed, or ended early.
    pub fn usec(&self, name: &str) -> Result<u64, String> {
        let of_case = || self.summaries.iter().filter(|summary| summary.name == name);
        if of_case().any(|summary| summary.failed > 0) {
            return Err("failed".into());
        }
        if of_case().any(|summary| summary.xfailed > 0) {
            return Err("ended early".into());
        }
        of_case().map(|summary| summary.usec).max().ok_or_else(|| "printed no summary".into())
    }
}

/// The runs in what a machine printed. Ours end with the line on flushes; Linux's run is all there is.
#[must_use]
pub fn runs(text: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut run = Run::default();
    for line in text.lines() {
        if let Some(summary) = summary(line) {
            run.summaries.push(summary);
        } else if let Some(waits) = numbers::<1>(line, "Locks: ") {
            [run.lock_waits] = waits;
        } else if let Some([interrupts, full, pages]) = numbers(line, "TLB: ") {
            (run.interrupts, run.flushes) = (interrupts, full + pages);
            runs.push(std::mem::take(&mut run));
        }
    }
    if !run.summaries.is_empty() {
        runs.push(run);
    }
    runs
}

/// The line, behind whatever `printk` puts before it.
fn summary(line: &str) -> Option<Summary> {
    let (_, rest) = line.split_once("Summary: ")?;
    let mut words = rest.split_whitespace();
    let name = words.next()?.to_owned();
    let words: Vec<&str> = words.collect();
    let value = |key: &str| {
        let index = words.iter().position(|word| *word == key)?;
        words.get(index + 1)?.parse().ok()
    };
    Some(Summary {
        name,
        passed: value("passed:")?,
        failed: value("failed:")?,
        xfailed: value("xfailed:")?,
        loops: value("loops:")?,
        usec: value("avg:")?,
    })
}

/// The first numbers of a line that begins so.
pub fn numbers<const N: usize>(line: &str, start: &str) -> Option<[u64; N]> {
    let rest = line.strip_prefix(start)?;
    let words = rest.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    words.take(N).collect::<Vec<u64>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "63 areas\n\
        Summary: fix_size_alloc_test passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: 20000 avg: 60734 usec\n\
        All test took worker0=1063189816 cycles\n\
        Summary: fix_size_alloc_test passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: 20000 avg: 60999 usec\n\
        All test took worker1=1063189816 cycles\n\
        Locks: 17 waits, 425 per million loops\n\
        TLB: 106 interrupts, 212 full flushes, 8 pages flushed one by one; 2650 interrupts per million loops\n\
        Summary: vrealloc_test passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: 5 avg: 7 usec\n\
        TLB: 1 interrupts, 2 full flushes, 3 pages flushed one by one; 2650 interrupts per million loops\n";

    /// Seen failing with the time of the fastest worker.
    #[test]
    fn our_runs_end_with_the_line_on_flushes() {
        let runs = runs(OURS);
        assert_eq!(runs.len(), 2);
        let run = &runs[0];
        assert_eq!((run.summaries.len(), run.interrupts, run.flushes, run.lock_waits), (2, 106, 220, 17));
        assert_eq!(run.usec("fix_size_alloc_test"), Ok(60_999), "the slowest worker ends the run");
        assert_eq!((runs[1].lock_waits, runs[1].usec("vrealloc_test")), (0, Ok(7)));
    }

    #[test]
    fn linux_prints_the_same_lines_behind_a_prefix() {
        let text = "[    0.500000] Summary: vm_map_ram_test passed: 3 failed: 0 xfailed: 0 repeat: 3 \
            loops: 10000 avg: 24000 usec\r\n[    0.6] All test took worker0=1 cycles\r\n";
        let [run] = &runs(text)[..] else { panic!() };
        assert_eq!(run.usec("vm_map_ram_test"), Ok(24_000));
        assert_eq!(run.summaries[0].loops, 10_000);
    }

    #[test]
    fn a_run_that_failed_or_ended_early_has_no_time() {
        for (counts, why) in [
            ("passed: 0 failed: 1 xfailed: 0", "failed"),
            ("passed: 0 failed: 0 xfailed: 1", "ended early"),
            ("passed: what failed: 0 xfailed: 0", "printed no summary"),
        ] {
            let good = "Summary: a passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: 2 avg: 3 usec";
            let text = format!("{}\n{good}", good.replace("passed: 1 failed: 0 xfailed: 0", counts));
            let runs = runs(&text);
            let result = runs[0].usec("a");
            match why {
                // The other worker's line is whole.
                "printed no summary" => assert_eq!(result, Ok(3)),
                _ => assert_eq!(result, Err(why.to_owned())),
            }
        }
        assert_eq!(Run::default().usec("a"), Err("printed no summary".into()));
    }

    #[test]
    fn numbers_are_read_from_their_line_only() {
        assert_eq!(numbers(" Locks: 1", "Locks: "), None::<[u64; 1]>);
        assert_eq!(numbers::<2>("Locks: 1", "Locks: "), None);
    }
}
