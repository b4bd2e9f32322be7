//! Time: loops a second on several CPUs, and what the CPUs cost each other.

use crate::status::Result;

use super::cases::{FIX_SIZE, ROUNDS, Subject, TIMED, TIMED_CPUS, TIMED_MORE};
use super::figure::{Figure, Outcome, Part, System};
use super::linux::Linux;
use super::ours::{self, MEMORY, Machines, Reply};
use super::summary::{self, Run};

/// What is said of a case.
pub const RATE: &str = "loops a second";
/// Interrupts that made CPUs flush.
pub const INTERRUPTS: &str = "interrupts a million loops";
/// Flushes, full or of a page.
pub const FLUSHES: &str = "flushes a million loops";
/// Times that somebody waited for a lock.
pub const WAITS: &str = "lock waits a million loops";

/// One case's runs on one machine, one a round, or why there is none.
type Rounds = Vec<std::result::Result<Run, Outcome>>;

/// Times all cases on each machine. Rounds here and on Linux take turns, so that what else the computer
/// does meanwhile hits both.
///
/// # Errors
/// A machine could not be started, or a signal wants this program to end.
pub fn run(machines: &Machines, linux: Option<&Linux>) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for cpus in TIMED_CPUS {
        let options = machines.timed(cpus, MEMORY);
        let (mut here, mut there) = (vec![Rounds::new(); TIMED.len()], vec![Rounds::new(); TIMED.len()]);
        for round in 1..=ROUNDS {
            eprintln!("bench: round {round} of {ROUNDS}, CPUs: {cpus}");
            let replies = round_here(cpus, |commands| machines.run(&options, commands))?;
            here.iter_mut().zip(replies).for_each(|(case, run)| case.push(run));
            if let Some(linux) = linux {
                eprintln!("bench: round {round} of {ROUNDS}, CPUs: {cpus}, Linux");
                let replies =
                    round_on_linux(cpus, |parameters, names| linux.run(&options, parameters, names))?;
                there.iter_mut().zip(replies).for_each(|(case, run)| case.push(run));
            }
        }
        for (index, (case, loops)) in TIMED.into_iter().enumerate() {
            let subject = Subject::new(case);
            let loops_of = |system| if system == System::Here { loops * TIMED_MORE } else { loops };
            let total = |system| loops_of(system) * u64::from(cpus);
            let mut add = |system, unit: &str, (outcome, range)| {
                figures.push(Figure {
                    part: Part::Timed,
                    system,
                    subject: subject.clone(),
                    conditions: ours::conditions(&options, cpus),
                    loops: vec![loops_of(system)],
                    rounds: ROUNDS,
                    unit: unit.to_owned(),
                    recorded: false,
                    outcome,
                    range,
                });
            };
            let rate =
                |system| move |run: &Run| run.usec(subject.name).map(|usec| per_second(total(system), usec));
            let per_million = |count: u64| Ok(count as f64 * 1e6 / total(System::Here) as f64);
            add(System::Here, RATE, middle(&here[index], rate(System::Here)));
            add(System::Here, INTERRUPTS, middle(&here[index], |run| per_million(run.interrupts)));
            add(System::Here, FLUSHES, middle(&here[index], |run| per_million(run.flushes)));
            add(System::Here, WAITS, middle(&here[index], |run| per_million(run.lock_waits)));
            if linux.is_some() {
                add(System::Linux, RATE, middle(&there[index], rate(System::Linux)));
            }
        }
    }
    Ok(figures)
}

/// A round of all cases on one machine.
fn round_here(cpus: u16, run: impl Fn(String) -> Result<Reply>) -> Result<Rounds> {
    let cases = TIMED.map(|(case, loops)| Subject::new(case).commands(loops * TIMED_MORE, cpus));
    let reply = run(cases.join("; "))?;
    Ok(split(reply, |text| Some(summary::runs(text)).filter(|runs| runs.len() == TIMED.len())))
}

/// A round of all cases on Linux: a machine for all that have as many loops.
fn round_on_linux(
    cpus: u16,
    run: impl Fn(&[(&'static str, u64)], &[&'static str]) -> Result<Reply>,
) -> Result<Rounds> {
    let mut rounds = vec![Err(Outcome::Failed { failed: "did not run".into() }); TIMED.len()];
    let mut all_loops = TIMED.map(|(_, loops)| loops).to_vec();
    all_loops.sort_unstable();
    all_loops.dedup();
    for loops in all_loops {
        let cases = || TIMED.iter().enumerate().filter(|(_, (_, of_case))| *of_case == loops);
        let mut parameters = Subject::new(FIX_SIZE).parameters(loops, cpus);
        parameters[0].1 = cases().map(|(_, (case, _))| case).sum();
        let names: Vec<_> = cases().map(|(_, (case, _))| Subject::new(*case).name).collect();
        let reply = run(&parameters, &names)?;
        let all = split(reply, |text| Some(vec![summary::runs(text).first()?.clone(); TIMED.len()]));
        for (index, _) in cases() {
            rounds[index] = all[index].clone();
        }
    }
    Ok(rounds)
}

/// A run for each case, or for each the reason why there is none.
fn split(reply: Reply, runs: impl Fn(&str) -> Option<Vec<Run>>) -> Rounds {
    let none = match reply {
        Reply::Done(text) => match runs(&text) {
            Some(runs) => return runs.into_iter().map(Ok).collect(),
            None => Outcome::Failed { failed: "printed too little".into() },
        },
        Reply::Failed(failed) => Outcome::Failed { failed },
    };
    vec![Err(none); TIMED.len()]
}

/// The median of what the runs give, and the least and the greatest; or why one gives nothing.
fn middle(
    rounds: &Rounds,
    of: impl Fn(&Run) -> std::result::Result<f64, String>,
) -> (Outcome, Option<[f64; 2]>) {
    let values = rounds.iter().map(|run| match run {
        Ok(run) => of(run).map_err(|failed| Outcome::Failed { failed }),
        Err(outcome) => Err(outcome.clone()),
    });
    match values.collect::<std::result::Result<Vec<f64>, Outcome>>() {
        Ok(values) => (Outcome::Measured { value: median(values.clone()) }, range(&values)),
        Err(outcome) => (outcome, None),
    }
}

/// The least and the greatest, if there is one.
#[must_use]
pub fn range(values: &[f64]) -> Option<[f64; 2]> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    Some([least, values.iter().copied().max_by(f64::total_cmp)?])
}

/// Loops in a second, where so many took so long.
#[must_use]
pub fn per_second(loops: u64, usec: u64) -> f64 {
    loops as f64 * 1e6 / usec.max(1) as f64
}

/// The one in the middle; 0 if there is none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(loops: u64, name: &str, usec: u64) -> String {
        format!(
            "Summary: {name} passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: {loops} avg: {usec} usec\n\
             Locks: {usec} waits; 0 per million loops\nTLB: 7 interrupts, 2 full flushes, 1 pages\n"
        )
    }

    #[test]
    fn each_case_is_run_once_on_one_machine() {
        let rounds = round_here(2, |commands| {
            assert_eq!(commands.matches("test_vmalloc").count(), TIMED.len());
            let cases =
                TIMED.iter().map(|(case, loops)| driver(loops * TIMED_MORE, Subject::new(*case).name, *case));
            Ok(Reply::Done(cases.collect()))
        })
        .unwrap();
        for ((case, _), run) in TIMED.iter().zip(rounds) {
            let run = run.unwrap();
            assert_eq!((run.usec(Subject::new(*case).name), run.lock_waits), (Ok(*case), *case));
        }
    }

    #[test]
    fn a_machine_that_fails_or_falls_silent_fails_every_case() {
        for reply in [Reply::Failed("x".into()), Reply::Done(driver(1, "fix_size_alloc_test", 1))] {
            let rounds = round_here(1, |_| Ok(reply.clone())).unwrap();
            assert!(rounds.iter().all(|run| matches!(run, Err(Outcome::Failed { .. }))), "{reply:?}");
            assert!(matches!(middle(&rounds, |_| Ok(1.0)), (Outcome::Failed { .. }, None)));
        }
    }

    #[test]
    fn linux_runs_each_case_once_with_its_loops() {
        let rounds = round_on_linux(4, |parameters, names| {
            let of = |wanted| parameters.iter().find(|(name, _)| *name == wanted).unwrap().1;
            assert_eq!(of("nr_threads"), 4);
            let (mask, loops) = (of("run_test_mask"), of("test_loop_count"));
            assert_eq!(names.len(), mask.count_ones() as usize);
            let cases = TIMED.iter().filter(|(case, _)| mask & case != 0);
            Ok(Reply::Done(
                cases
                    .map(|(case, of_case)| {
                        assert_eq!(*of_case, loops);
                        driver(loops, Subject::new(*case).name, *case).replace("TLB", "")
                    })
                    .collect(),
            ))
        })
        .unwrap();
        for ((case, _), run) in TIMED.iter().zip(rounds) {
            assert_eq!(run.unwrap().usec(Subject::new(*case).name), Ok(*case));
        }
    }

    #[test]
    fn medians_ranges_and_rates() {
        let rounds = [5, 2, 4].map(|interrupts| Ok(Run { interrupts, ..Run::default() })).to_vec();
        let middle = middle(&rounds, |run| Ok(run.interrupts as f64));
        assert_eq!(middle, (Outcome::Measured { value: 4.0 }, Some([2.0, 5.0])));
        assert_eq!(range(&[]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(per_second(200_000, 100_000), 2e6);
        assert_eq!(per_second(1, 0), 1e6);
    }
}
