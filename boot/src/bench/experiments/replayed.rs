//! What a replay of a trace gave: the rows of its table, and a recording of what the address space looked like meanwhile,
//! and of the purges and flushes.

use serde::{Deserialize, Serialize};

/// What a replay gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replayed {
    /// The trace's file.
    pub trace: String,
    /// The machine, in words.
    pub machine: String,
    /// CPUs that the calls ran on.
    pub cpus: u64,
    /// Times that the trace was replayed.
    pub loops: u32,
    /// Calls that were made of the trace, once.
    pub calls: u64,
    /// Seconds that the trace took.
    pub recorded_seconds: f64,
    /// Seconds that all loops took, on the machine's clock.
    pub seconds: f64,
    /// What the costs are in.
    pub unit: String,
    /// The rows of the table.
    pub rows: Vec<Row>,
    /// What could not be made calls of.
    pub skipped: Skipped,
    /// What was recorded meanwhile.
    #[serde(default)]
    pub recording: Recording,
}

/// A row: what was done here, and what Linux did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What is counted.
    pub name: String,
    /// How often here; nothing if it was not counted.
    pub here: Option<u64>,
    /// How often by Linux; nothing if the trace does not tell.
    pub linux: Option<u64>,
    /// What a call cost here.
    pub cost: Option<f64>,
}

/// Events that no call was made of, and calls that the trace does not show and that must have been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Frees of areas from before the trace.
    pub unknown: u64,
    /// Calls or returns whose other half is missing.
    pub unpaired: u64,
    /// Areas whose free is not in the trace, but whose address was given out again.
    pub unseen: u64,
    /// Events that the trace says were lost.
    pub lost: u64,
    /// Events of other kinds.
    pub other: u64,
}

/// What was recorded while calls were made. Times are microseconds since the first sample, without what samples took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// What the address space looked like, again and again.
    pub samples: Vec<Sample>,
    /// Purges, in the order of their ends: CPU where it began, when, how long it took, pages that became free.
    #[serde(with = "words")]
    pub purges: Vec<[u64; 4]>,
    /// Flushes: CPU that asked for it, when, pages; [`ALL`] if everything was flushed.
    #[serde(with = "words")]
    pub flushes: Vec<[u64; 3]>,
}

/// Stands for all pages.
pub const ALL: u64 = 0;

/// What the address space looked like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Calls that had been made.
    pub calls: u64,
    /// When it was.
    pub time: u64,
    /// The blocks in use: number of the first, how many, and pages that are live, parked, dirty, flushing, cached, guard
    /// pages. The others are free.
    #[serde(with = "words")]
    pub blocks: Vec<[u64; 8]>,
}

/// Lists of numbers as one text, so that a file has a line for each list and not for each number.
mod words {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer, const N: usize>(
        lists: &[[u64; N]],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let word = |list: &[u64; N]| list.map(|number| number.to_string()).join(",");
        serializer.serialize_str(&lists.iter().map(word).collect::<Vec<_>>().join(" "))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<Vec<[u64; N]>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let list = |word: &str| {
            let numbers: Result<Vec<u64>, _> = word.split(',').map(str::parse).collect();
            numbers.ok().and_then(|numbers| <[u64; N]>::try_from(numbers).ok())
        };
        let lists = text.split(' ').filter(|word| !word.is_empty());
        lists
            .map(|word| list(word).ok_or_else(|| D::Error::custom(format!("{word}: not {N} numbers"))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_back_as_it_was_written() {
        let sample = Sample { calls: 7, time: 3, blocks: vec![[1, 1, 2, 3, 4, 5, 6, 7], [9; 8]] };
        let recording = Recording {
            samples: vec![sample],
            purges: vec![[1, 2, 3, 4]],
            flushes: vec![[0, 5, ALL], [1, 6, 7]],
        };
        let text = serde_json::to_string(&recording).unwrap();
        assert!(text.contains(r#""flushes":"0,5,0 1,6,7""#), "{text}");
        assert_eq!(serde_json::from_str::<Recording>(&text).unwrap(), recording);
        let error = serde_json::from_str::<Recording>(&text.replace("1,6,7", "1,6")).unwrap_err();
        assert!(error.to_string().contains("1,6: not 3 numbers"), "{error}");
    }
}
