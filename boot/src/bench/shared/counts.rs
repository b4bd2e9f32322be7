//! What the plugin counted: reads its file, and tells what a loop cost.

/// What is counted, by the plugin's names for it, and its unit in figures.
pub const KINDS: [(&str, &str); 8] = [
    ("instructions", "instructions a loop"),
    ("locked", "locked instructions a loop"),
    ("lines", "cache lines moved a loop"),
    ("invlpg", "INVLPG a loop"),
    ("cr3", "CR3 writes a loop"),
    ("cr4", "CR4 writes a loop"),
    ("interrupts", "interrupts a loop"),
    ("pauses", "PAUSE a loop"),
];

/// The plugin's name for accesses that it could not follow.
const UNSEEN: &str = "unseen";

/// The counts of all CPUs together at one moment, in the order of [`KINDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot([u64; KINDS.len()]);

/// What each loop cost, in the order of [`KINDS`].
pub type PerLoop = [f64; KINDS.len()];

impl Snapshot {
    /// What was counted from an earlier moment to this one.
    fn since(self, earlier: Self) -> PerLoop {
        std::array::from_fn(|kind| self.0[kind] as f64 - earlier.0[kind] as f64)
    }
}

/// What each loop more cost, where one stretch had `more` loops more than the other. Each stretch is the moments at its
/// ends.
#[must_use]
pub fn per_loop(few: [Snapshot; 2], many: [Snapshot; 2], more: u64) -> PerLoop {
    let (few, many) = (few[1].since(few[0]), many[1].since(many[0]));
    std::array::from_fn(|kind| (many[kind] - few[kind]) / more as f64)
}

/// The snapshots in the plugin's file: one for each mark, and one of the end.
///
/// # Errors
/// A line that says what is wrong with the file, or that the plugin could not follow more than one access in a thousand
/// instructions.
pub fn snapshots(text: &str) -> Result<Vec<Snapshot>, String> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let column = |name: &str| {
        let found = names.iter().position(|other| *other == name);
        found.ok_or_else(|| format!("the plugin's file has no column {name}"))
    };
    let columns = KINDS.iter().map(|(name, _)| column(name)).collect::<Result<Vec<_>, _>>()?;
    let (number, unseen) = (column("snapshot")?, column(UNSEEN)?);
    let mut snapshots: Vec<Snapshot> = Vec::new();
    let mut lost = 0;
    for line in lines {
        let cells: Vec<u64> = line.split(' ').map_while(|cell| cell.parse().ok()).collect();
        if cells.len() != names.len() || cells[number] > snapshots.len() as u64 {
            return Err(format!("the plugin's file has a line {line:?}"));
        }
        if cells[number] == snapshots.len() as u64 {
            snapshots.push(Snapshot::default());
            lost = 0;
        }
        lost += cells[unseen];
        if let Some(snapshot) = snapshots.last_mut() {
            snapshot.0.iter_mut().zip(&columns).for_each(|(sum, column)| *sum += cells[*column]);
        }
    }
    match snapshots.last() {
        None => Err("the plugin counted nothing".into()),
        Some(Snapshot([instructions, ..])) if lost > instructions / 1000 => {
            Err(format!("the plugin could not follow {lost} accesses of {instructions} instructions"))
        }
        Some(_) => Ok(snapshots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "snapshot cpu instructions locked lines invlpg cr3 cr4 interrupts pauses unseen\n";

    fn read(lines: &str) -> Result<Vec<Snapshot>, String> {
        snapshots(&format!("{HEADING}{lines}"))
    }

    /// Seen failing with the last CPU taken for all.
    #[test]
    fn the_counts_of_all_cpus_are_one_sum() {
        let lines = "0 0 100 1 2 3 4 5 6 7 0\n0 1 200 1 0 0 0 0 0 0 0\n1 0 1000 9 2 3 4 5 6 7 1\n1 1 300 1 1 1 1 1 1 1 0\n";
        let read = read(lines).unwrap();
        assert_eq!(read, [Snapshot([300, 2, 2, 3, 4, 5, 6, 7]), Snapshot([1300, 10, 3, 4, 5, 6, 7, 8])]);
    }

    #[test]
    fn columns_are_known_by_their_names() {
        let text = "unseen lines locked cr4 cr3 invlpg snapshot cpu interrupts pauses instructions\n0 1 2 3 4 5 0 0 6 8 7\n";
        assert_eq!(snapshots(text).unwrap(), [Snapshot([7, 2, 1, 5, 4, 3, 6, 8])]);
        assert!(snapshots("snapshot cpu\n0 0\n").unwrap_err().contains("instructions"));
    }

    /// Seen failing with short lines taken, and with no look at what was lost.
    #[test]
    fn files_that_say_less_are_refused() {
        let good = "0 0 5000 1 2 3 4 5 6 7 5\n";
        assert!(read(good).is_ok());
        for (lines, named) in [
            ("", "nothing"),
            ("0 0 100 1 2\n", "0 0 100 1 2"),
            ("1 0 100 1 2 3 4 5 6 7 0\n", "1 0 100"),
            ("0 0 100 1 2 3 4 x 6 7 0\n", "x"),
            ("0 0 5000 1 2 3 4 5 6 7 6\n", "6 accesses"),
        ] {
            let error = read(lines).unwrap_err();
            assert!(error.contains(named), "{lines:?}: {error}");
        }
    }

    /// Seen failing with the first snapshot of the second stretch taken for the last of the first.
    #[test]
    fn set_up_and_what_lies_between_cancel() {
        let at = |count| Snapshot([count; KINDS.len()]);
        // 50 of set-up, 2 a loop; 7 between the runs.
        let per_loop = per_loop([at(1000), at(1000 + 50 + 20)], [at(1077), at(1077 + 50 + 60)], 20);
        assert_eq!(per_loop, [2.0; KINDS.len()]);
    }
}
