//! What the kernel streamed while it made the calls: samples of the address space, purges, flushes.

use std::path::Path;

use super::event::number;
use crate::bench::experiments::replayed::{ALL, Recording, Sample};
use crate::lines::line::{self, Line, Record};
use crate::lines::source::Source;
use crate::status::Result;

/// Reads the file that was streamed to.
///
/// # Errors
/// It cannot be read, or is of another form.
pub fn read(path: &Path) -> Result<Recording> {
    read_from(&mut Source::open(path)?)
}

/// The fields of a block, in the order in which they are kept.
const FIELDS: [&str; 8] = ["first", "blocks", "live", "parked", "dirty", "flushing", "cached", "guard"];

fn read_from(source: &mut Source) -> Result<Recording> {
    let mut reader = Reader::default();
    while let Some(text) = source.next_line()? {
        match line::parse(&text) {
            Some(Line::Nothing) => {}
            Some(Line::Event(record)) => {
                reader.event(&record).map_err(|what| source.wrong(format_args!("{what}")))?;
            }
            Some(Line::Lost { .. }) | None => return Err(source.wrong(format_args!("is no event"))),
        }
    }
    Ok(reader.recording)
}

#[derive(Default)]
struct Reader {
    recording: Recording,
    /// When the first sample began, in nanoseconds.
    start: Option<u64>,
    /// When the last sample began, if it has not ended.
    began: Option<u64>,
    /// Nanoseconds that samples took.
    paused: u64,
    /// Purges that have not ended: task, CPU, when they began.
    purging: Vec<(u32, u16, u64)>,
}

impl Reader {
    fn event(&mut self, record: &Record<'_>) -> std::result::Result<(), String> {
        let &Record { pid, cpu, time, name, fields, .. } = record;
        let number =
            |key: &str| number(fields, key).ok_or_else(|| format!("{name} without a number for {key}"));
        match name {
            "vmalloc_sample" => {
                let start = *self.start.get_or_insert(time);
                self.began = Some(time);
                let time = time.saturating_sub(start + self.paused) / 1000;
                self.recording.samples.push(Sample { calls: number("calls")?, time, blocks: Vec::new() });
            }
            "vmalloc_block" => {
                let sample = self.recording.samples.last_mut().ok_or("a block before the first sample")?;
                let mut block = [0; FIELDS.len()];
                for (to, key) in block.iter_mut().zip(FIELDS) {
                    *to = number(key)?;
                }
                sample.blocks.push(block);
            }
            "vmalloc_sampled" => self.paused += time.saturating_sub(self.began.take().unwrap_or(time)),
            "vmalloc_purge_begin" => self.purging.push((pid, cpu, self.since_start(time))),
            "vmalloc_purge_end" => {
                let index = self.purging.iter().position(|(task, ..)| *task == pid);
                let (_, cpu, began) =
                    self.purging.swap_remove(index.ok_or("a purge ends that has not begun")?);
                let took = self.since_start(time).saturating_sub(began);
                self.recording.purges.push([cpu.into(), began, took, number("freed")?]);
            }
            "vmalloc_flush" => {
                let pages = if fields.ends_with(" all") { ALL } else { number("pages")? };
                self.recording.flushes.push([cpu.into(), self.since_start(time), pages]);
            }
            _ => {}
        }
        Ok(())
    }

    /// Microseconds since the first sample began, without what samples took.
    fn since_start(&self, time: u64) -> u64 {
        let now = self.began.unwrap_or(time);
        now.saturating_sub(self.start.unwrap_or(now) + self.paused) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places;
    use crate::scratch::Scratch;

    /// Seen failing with the time of samples left in.
    #[test]
    fn what_was_streamed_is_read_without_what_samples_took() {
        let lines = "# tracer: nop
 replay-7 [001] ..... 1.000100: vmalloc_sample: calls=0
 replay-7 [001] ..... 1.000200: vmalloc_block: first=3 blocks=2 live=1 parked=2 dirty=3 flushing=4 cached=5 guard=6
 replay-7 [001] ..... 1.000400: vmalloc_sampled: calls=0
 replay-7 [001] ..... 1.000410: vmalloc_purge_begin: (a.rs:1:2) waiting=9
 replay-7 [001] ..... 1.000420: vmalloc_flush: (a.rs:1:2) pages=33
 replay-7 [000] ..... 1.000440: vmalloc_flush: (a.rs:1:2) all
 replay-7 [000] ..... 1.000460: vmalloc_purge_end: freed=9
 replay-7 [000] ..... 1.000460: purge_vmap_area_lazy: start=0x0 end=0x0 num_purged=0
 replay-8 [000] ..... 1.000500: vmalloc_sample: calls=5
 replay-8 [000] ..... 1.000600: vmalloc_sampled: calls=5
 replay-8 [000] ..... 1.000610: vmalloc_flush: (a.rs:1:2) all
# 9 events, 0 of them lost
";
        let recording = read_from(&mut Source::of("t", lines.into())).unwrap();
        assert_eq!(recording.purges, [[1, 10, 50, 9]]);
        assert_eq!(recording.flushes, [[1, 20, 33], [0, 40, ALL], [0, 110, ALL]]);
        let block = [3, 2, 1, 2, 3, 4, 5, 6];
        assert_eq!(
            recording.samples,
            [
                Sample { calls: 0, time: 0, blocks: vec![block] },
                Sample { calls: 5, time: 100, blocks: vec![] }
            ]
        );
        let folder = Scratch::within(&places::target_folder("runs").unwrap()).unwrap();
        let file = folder.path().join("events");
        assert!(read(&file).is_err());
        std::fs::write(&file, lines).unwrap();
        assert_eq!(read(&file).unwrap(), recording);
        for (from, to, what) in [
            ("freed=9", "freed=x", "line 8: vmalloc_purge_end without a number for freed"),
            ("-7 [000] ..... 1.000460: vmalloc", "-6 [000] ..... 1.000460: vmalloc", "has not begun"),
            ("parked=2 ", "", "vmalloc_block without a number for parked"),
        ] {
            let error = read_from(&mut Source::of("t", lines.replace(from, to).into())).unwrap_err();
            assert!(error.message.contains(what), "{error}");
        }
    }
}
