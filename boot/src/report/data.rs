//! What is drawn: all that some files hold, put together.

use std::path::PathBuf;

use crate::bench::experiments::Experiment;
use crate::bench::experiments::history::History;
use crate::bench::experiments::latency::Latency;
use crate::bench::experiments::replayed::Replayed;
use crate::bench::figure::{Figure, Figures, Part, System};
use crate::bench::kept::Measured;
use crate::status::Result;

/// Where figures are from.
#[derive(Clone, Debug)]
pub struct Source {
    /// A file, or what measured just now.
    pub name: String,
    /// The project's commit.
    pub commit: Option<String>,
    /// There were changes that no commit has.
    pub changed: bool,
    /// The day.
    pub date: Option<String>,
    /// QEMU's version.
    pub qemu: Option<String>,
    /// Linux's version.
    pub linux: Option<String>,
    /// CPUs of the computer.
    pub computer_cpus: Option<usize>,
    /// What is drawn of it.
    pub parts: Vec<Part>,
}

/// All that is drawn.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// Numbers, of each part from one source.
    pub figures: Figures,
    /// What `history` gave.
    pub history: Option<History>,
    /// What `latency` gave.
    pub latency: Option<Experiment<Latency>>,
    /// What a replay of a trace gave.
    pub replayed: Option<Replayed>,
    /// Where all that is from.
    pub sources: Vec<Source>,
}

impl Data {
    /// Reads files. Where two have the same part, the later one counts.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut data = Self::default();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            data.add(name, Measured::read(path)?);
        }
        Ok(data)
    }

    /// Adds what was measured, in the place of the same parts from before.
    pub fn add(&mut self, name: String, measured: Measured) {
        let Measured {
            commit,
            changed,
            date,
            qemu,
            computer_cpus,
            linux,
            figures,
            history,
            latency,
            replayed,
            ..
        } = measured;
        let mut parts: Vec<Part> = Vec::new();
        let of_figures = figures.0.iter().map(|figure| figure.part);
        let others = [
            history.as_ref().map(|_| Part::History),
            latency.as_ref().map(|_| Part::Latency),
            replayed.as_ref().map(|_| Part::Replay),
        ];
        for part in of_figures.chain(others.into_iter().flatten()) {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        self.figures.0.retain(|figure| !parts.contains(&figure.part));
        for source in &mut self.sources {
            source.parts.retain(|part| !parts.contains(part));
        }
        self.figures.0.extend(figures.0);
        self.history = history.or(self.history.take());
        self.latency = latency.or(self.latency.take());
        self.replayed = replayed.or(self.replayed.take());
        self.sources.retain(|source| !source.parts.is_empty());
        self.sources.push(Source { name, commit, changed, date, qemu, linux, computer_cpus, parts });
    }

    /// The figures of a part and a system that have a number.
    pub fn measured(&self, part: Part, system: System) -> impl Iterator<Item = (&Figure, f64)> {
        self.figures.of(part, system).filter_map(|figure| Some((figure, figure.outcome.value()?)))
    }

    /// What another system took for the same.
    #[must_use]
    pub fn beside(&self, figure: &Figure, system: System) -> Option<f64> {
        self.figures.beside(figure, system)?.outcome.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places;

    /// Seen failing with the figures of both files kept.
    #[test]
    fn the_later_file_counts_where_two_have_the_same_part() {
        let paths = ["tcg-2-cores", "tcg-cases", "tcg-sizes", "tcg-timed"]
            .map(|name| places::root().join(format!("bench/results/{name}.json")));
        let data = Data::read(&paths).unwrap();
        let later = Data::read(&paths[1..2]).unwrap();
        let first = |data: &Data| data.measured(Part::Cases, System::Here).next().unwrap().1;
        assert_eq!(first(&data), first(&later));
        assert_ne!(first(&later), first(&Data::read(&paths[..1]).unwrap()), "both files have another figure");
        let here = data.measured(Part::Cases, System::Here).next().unwrap().0;
        assert_eq!(data.beside(here, System::Linux), Some(3024.0));
        assert_eq!(data.sources[0].parts, [Part::Live]);
        assert_eq!(data.measured(Part::Cases, System::Here).count(), 15);
    }
}
