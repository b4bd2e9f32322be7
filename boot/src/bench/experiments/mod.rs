//! The console's `history` and `latency`: run on machines where they say the same each time if they can, and read.
//!
//! The kernel prints tables for people. They are read here, so that a kernel that printed for programs is not needed; a
//! line that is not as it should be is a failure that quotes it.

pub mod history;
pub mod latency;
pub mod replayed;

use serde::{Deserialize, Serialize};

use crate::machine::options::Options;
use crate::status::Result;

use super::figure::Conditions;
use super::ours::{self, Machines, Reply};

/// What an experiment gave: rows, or why there are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment<T> {
    /// The console command, which is to be run by `./run.sh exec`.
    pub command: String,
    /// What it ran on.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// What it printed.
    #[serde(flatten)]
    pub rows: Rows<T>,
}

/// Rows, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rows<T> {
    /// In the order that they were printed in.
    Measured {
        /// One for each line of the table.
        rows: Vec<T>,
    },
    /// It went wrong.
    Failed {
        /// How.
        failed: String,
    },
}

impl<T> Experiment<T> {
    /// The rows; none if it went wrong.
    #[must_use]
    pub fn rows(&self) -> &[T] {
        match &self.rows {
            Rows::Measured { rows } => rows,
            Rows::Failed { .. } => &[],
        }
    }

    /// Why there are no rows, if there are none.
    #[must_use]
    pub fn failed(&self) -> Option<&str> {
        match &self.rows {
            Rows::Measured { .. } => None,
            Rows::Failed { failed } => Some(failed),
        }
    }
}

/// Runs a command and reads what it prints, which goes to `text` too.
fn run<T>(
    machines: &Machines,
    options: &Options,
    command: &str,
    text: &mut String,
    read: impl FnOnce(&str) -> std::result::Result<Vec<T>, String>,
) -> Result<Experiment<T>> {
    eprintln!("bench: {command}");
    let rows = match machines.run(options, command.to_owned())? {
        Reply::Done(printed) => {
            text.push('\n');
            text.push_str(&without_samples(&printed));
            read(&printed)
        }
        Reply::Failed(failed) => Err(failed),
    };
    let rows = rows.map_or_else(|failed| Rows::Failed { failed }, |rows| Rows::Measured { rows });
    if let Rows::Failed { failed } = &rows {
        eprintln!("bench: {command}: {failed}");
    }
    Ok(Experiment {
        command: command.to_owned(),
        conditions: ours::conditions(options, options.cpus()),
        rows,
    })
}

/// What people read of it.
fn without_samples(printed: &str) -> String {
    let lines = printed.lines().filter(|line| !line.starts_with(history::SAMPLES));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Splits a line into its name and the `N` words behind that.
fn columns<const N: usize>(line: &str) -> Option<(String, [&str; N])> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, columns) = words.split_at_checked(words.len().checked_sub(N)?)?;
    Some((name.join(" "), columns.try_into().ok()?))
}

/// Reads each line behind the heads, and quotes the one that cannot be read; there must be some.
fn table<T>(
    text: &str,
    heads: usize,
    read: impl Fn(&str) -> Option<T>,
) -> std::result::Result<Vec<T>, String> {
    let rows = text.lines().skip(heads).map(|line| read(line).ok_or_else(|| format!("printed {line:?}")));
    match rows.collect::<std::result::Result<Vec<T>, String>>() {
        Ok(rows) if rows.is_empty() => Err("printed no table".into()),
        rows => rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_spaces_and_a_table_must_have_rows() {
        assert_eq!(columns::<2>(" a ticket   1  2\r"), Some(("a ticket".into(), ["1", "2"])));
        assert_eq!(columns::<3>("1 2"), None);
        let number = |line: &str| line.parse::<u32>().ok();
        assert_eq!(table("head\n1\n2\n", 1, number), Ok(vec![1, 2]));
        assert_eq!(table("head\n1\nx y\n", 1, number), Err("printed \"x y\"".into()));
        assert_eq!(table("head\n", 1, number), Err("printed no table".into()));
    }

    #[test]
    fn an_experiment_is_read_as_it_was_written() {
        let conditions = ours::conditions(&ours::counted(6, ours::MEMORY), 1);
        for rows in [Rows::Measured { rows: vec![1, 2] }, Rows::Failed { failed: "x".into() }] {
            let experiment = Experiment { command: "history".into(), conditions: conditions.clone(), rows };
            let text = serde_json::to_string(&experiment).unwrap();
            assert_eq!(serde_json::from_str::<Experiment<i32>>(&text).unwrap(), experiment);
        }
    }
}
