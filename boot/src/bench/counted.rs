//! Instructions a loop: exact, and the same in every run and beside whatever else the computer does.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::machine::options::{Memory, Options};
use crate::status::Result;

use super::cases::Subject;
use super::figure::{Figure, Outcome, Part, System};
use super::linux::Linux;
use super::ours::{self, MEMORY, Machines, Reply};
use super::summary;

/// From so many live areas on more memory is needed.
const MANY_AREAS: u64 = 200_000;
/// Then the machine has this much.
const MUCH_MEMORY: Memory = Memory { mebibytes: 8192 };

/// One figure to be had.
struct Job {
    system: System,
    subject: Subject,
}

/// Counts what each subject takes, as many at once as this computer has CPUs: here, on Linux if it is
/// there, and the floor where there is one.
///
/// # Errors
/// A machine could not be started, or a signal wants this program to end.
pub fn run(
    machines: &Machines,
    linux: Option<&Linux>,
    part: Part,
    subjects: Vec<Subject>,
) -> Result<Vec<Figure>> {
    let mut jobs = Vec::new();
    for subject in subjects {
        let mut add = |system| jobs.push(Job { system, subject: subject.clone() });
        add(System::Here);
        match part {
            Part::Sizes if subject.has_floor() => add(System::Floor),
            Part::Instead => [System::FreeList, System::Vmem].into_iter().for_each(&mut add),
            _ => {}
        }
        if linux.is_some() && subject.is_linuxs() {
            add(System::Linux);
        }
    }
    at_once(&jobs, |Job { system, subject }| {
        let options = options(*system, subject);
        let outcome = match (spare_memory(), system, linux) {
            (Some(spare), ..) if spare < options.memory && options.memory != MEMORY => {
                let left_out = format!("needs {} of free memory, {spare} are there", options.memory);
                Outcome::Left { left_out }
            }
            (_, System::Here | System::FreeList | System::Vmem, _) => {
                measure(subject, subject.name, &options, |count| {
                    machines.run(&options, subject.commands_by(*system, count, 1))
                })?
            }
            (_, System::Floor, _) => measure(subject, "floor", &options, |count| {
                machines.run(&options, subject.floor_command(count))
            })?,
            (_, System::Linux, Some(linux)) => measure(subject, subject.name, &options, |count| {
                linux.run(&options, &subject.parameters(count, 1), &[subject.name])
            })?,
            (_, System::Linux, None) => unreachable!("no such job was made"),
        };
        let figure = Figure {
            part,
            system: *system,
            subject: subject.clone(),
            conditions: ours::conditions(&options, 1),
            loops: subject.loops().to_vec(),
            rounds: 1,
            unit: subject.unit().to_owned(),
            recorded: false,
            outcome,
            range: None,
        };
        eprintln!("bench: {system}{subject}: {}", figure.told());
        Ok(figure)
    })
}

/// The machine that a subject is counted on.
fn options(system: System, subject: &Subject) -> Options {
    let memory = if subject.live_areas < MANY_AREAS { MEMORY } else { MUCH_MEMORY };
    let shift = if system == System::Linux { Linux::ICOUNT_SHIFT } else { ours::ICOUNT_SHIFT };
    ours::counted(shift, memory)
}

/// Memory that this computer can spare, if it says so.
fn spare_memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(Memory { mebibytes: u32::try_from(kibibytes / 1024).ok()? })
}

/// Has it run for each count of loops on a machine of its own; the difference of the two.
fn measure(
    subject: &Subject,
    name: &str,
    options: &Options,
    run: impl Fn(u64) -> Result<Reply>,
) -> Result<Outcome> {
    let mut usec = [0; 2];
    for (usec, count) in usec.iter_mut().zip(subject.loops()) {
        let text = match run(count)? {
            Reply::Done(text) => text,
            Reply::Failed(failed) => return Ok(Outcome::Failed { failed }),
        };
        match summary::runs(&text).first().map_or(Err("printed nothing".into()), |run| run.usec(name)) {
            Ok(taken) => *usec = taken,
            Err(failed) => return Ok(Outcome::Failed { failed }),
        }
    }
    let shift = options.icount.unwrap_or_default();
    Ok(Outcome::Measured { value: per_loop(usec, subject.loops(), shift) })
}

/// Instructions for each loop more, where one takes 2^`shift` ns.
#[must_use]
pub fn per_loop(usec: [u64; 2], loops: [u64; 2], shift: u8) -> f64 {
    let nanoseconds = (usec[1] as f64 - usec[0] as f64) * 1000.0;
    nanoseconds / f64::from(1u32 << shift) / (loops[1] - loops[0]) as f64
}

/// Does the work for all items, on as many threads as there are CPUs; the results in the items' order.
fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let take = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = work(item);
            if result.is_err() {
                // Nothing more is begun.
                next.store(items.len(), Ordering::Relaxed);
            }
            results.lock().expect("no thread panics with the lock").push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(take);
        }
    });
    let mut results = results.into_inner().expect("no thread panics with the lock");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Error;

    #[test]
    fn set_up_cancels_in_the_difference() {
        // As the kernel printed them: 329 instructions, at 64 ns.
        assert_eq!(per_loop([268_861, 479_268], [10_000, 20_000], 6).round(), 329.0);
        assert_eq!(per_loop([5, 10_005], [10_000, 20_000], 0), 1000.0);
        assert!(per_loop([10, 5], [1, 2], 0) < 0.0, "nonsense is shown as such");
    }

    #[test]
    fn what_fails_and_what_says_nothing_are_failures() {
        let options = options(System::Here, &Subject::new(1));
        let line = |failed, usec| {
            format!("Summary: x passed: 1 failed: {failed} xfailed: 0 repeat: 1 loops: 1 avg: {usec} usec\n")
        };
        let outcome = |reply: &dyn Fn(u64) -> Reply| {
            measure(&Subject::new(1), "x", &options, |count| Ok(reply(count))).unwrap()
        };
        let good = outcome(&|count| Reply::Done(line(0, count * 64)));
        assert_eq!(good, Outcome::Measured { value: 1000.0 });
        for reply in [Reply::Failed("x".into()), Reply::Done(line(1, 1)), Reply::Done(String::new())] {
            assert!(matches!(outcome(&|_| reply.clone()), Outcome::Failed { .. }), "{reply:?}");
        }
    }

    /// Seen failing with nanoseconds taken for instructions.
    #[test]
    fn instructions_are_counted_by_the_shift_of_the_machine() {
        let reply = |count| {
            let summary = "Summary: x passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: 1";
            Ok(Reply::Done(format!("{summary} avg: {count} usec")))
        };
        for (system, value) in [(System::Here, 1000.0 / 64.0), (System::Linux, 1000.0)] {
            let options = options(system, &Subject::new(1));
            assert_eq!(measure(&Subject::new(1), "x", &options, reply).unwrap(), Outcome::Measured { value });
        }
    }

    /// Seen failing with the results in another order.
    #[test]
    fn results_come_in_order_and_an_error_ends_it() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(at_once(&items, |item| Ok(*item)).unwrap(), items);
        let error = at_once(&items, |item| if *item < 3 { Ok(()) } else { Err(Error::failed("x")) });
        assert_eq!(error, Err(Error::failed("x")));
    }
}
