//! This kernel's library beside what a kernel author would write without it: see `kernel/src/instead`.
//!
//! Instructions are counted as those of all cases are. Interrupts and flushes are counted by the kernel, on 2 CPUs that
//! both work: an idle CPU would not be interrupted. The emulator counts instructions there too, so the CPUs take turns in
//! the same way in every run, and an interrupt does not wait until the computer has time for the other CPU.

use crate::machine::options::Options;
use crate::status::Result;

use super::cases::{FIX_SIZE, Subject, VM_MAP_RAM};
use super::counted;
use super::figure::{Figure, Outcome, Part, System};
use super::linux::Linux;
use super::ours::{self, MEMORY, Machines, Reply};
use super::summary;
use super::timed::{FLUSHES, INTERRUPTS};

/// CPUs of the machine on which interrupts are counted, with a worker for each.
const CPUS: u16 = 2;

/// The cases, and the loops of a worker in the shorter of the two runs whose difference counts: with the library, which
/// flushes seldom, and without it, where each free waits for an interrupt.
const CASES: [(u64, u64, u64); 5] =
    [(FIX_SIZE, 20_000, 500), (2, 20_000, 100), (4, 2_000, 100), (8, 5_000, 200), (VM_MAP_RAM, 20_000, 500)];

/// The longer run has so many times the loops of the shorter one.
const LONGER: u64 = 5;

/// The longer run may count so many fewer, because set-up costs a little more or less each time.
const SET_UP_VARIES: u64 = 16;

/// Interrupts and flushes a million loops, or why there are none.
type Costs = std::result::Result<[f64; 2], String>;

/// Counts all cases, each with the library and without it.
///
/// # Errors
/// A machine could not be started, or a signal wants this program to end.
pub fn run(machines: &Machines, linux: Option<&Linux>) -> Result<Vec<Figure>> {
    let mut figures = counted::run(machines, linux, Part::Instead, Subject::instead())?;
    let options = Options { cpus: Some(CPUS), ..ours::counted(ours::ICOUNT_SHIFT, MEMORY) };
    for system in [System::Here, System::FreeList, System::Vmem] {
        for case in CASES {
            let (subject, loops) = (Subject::new(case.0), loops(system, case));
            let costs = costs(&subject, system, loops, |commands| machines.run(&options, commands))?;
            eprintln!("bench: {system}{subject}: {}", told(&costs));
            for (index, unit) in [INTERRUPTS, FLUSHES].into_iter().enumerate() {
                figures.push(Figure {
                    part: Part::Instead,
                    system,
                    subject: subject.clone(),
                    conditions: ours::conditions(&options, CPUS),
                    loops: loops.to_vec(),
                    rounds: 1,
                    unit: unit.to_owned(),
                    recorded: false,
                    outcome: match &costs {
                        Ok(costs) => Outcome::Measured { value: costs[index] },
                        Err(failed) => Outcome::Failed { failed: failed.clone() },
                    },
                    range: None,
                });
            }
        }
    }
    Ok(figures)
}

/// The loops of a worker in both runs.
fn loops(system: System, (_, with_library, without): (u64, u64, u64)) -> [u64; 2] {
    let few = if system == System::Here { with_library } else { without };
    [few, few * LONGER]
}

fn told(costs: &Costs) -> String {
    match costs {
        Ok([interrupts, flushes]) => format!("{interrupts:.0} {INTERRUPTS}, {flushes:.0} {FLUSHES}"),
        Err(failed) => failed.clone(),
    }
}

/// Runs both numbers of loops, one after the other on one machine, so that set-up cancels; and the smaller one before, which
/// makes what later ones find there.
fn costs(
    subject: &Subject,
    system: System,
    loops: [u64; 2],
    run: impl FnOnce(String) -> Result<Reply>,
) -> Result<Costs> {
    let runs = [loops[0], loops[0], loops[1]];
    let text = match run(runs.map(|loops| subject.commands_by(system, loops, CPUS)).join("; "))? {
        Reply::Done(text) => text,
        Reply::Failed(failed) => return Ok(Err(failed)),
    };
    let [before, few, many] = &summary::runs(&text)[..] else { return Ok(Err("printed too little".into())) };
    if let Some(failed) = [before, few, many].into_iter().find_map(|run| run.usec(subject.name).err()) {
        return Ok(Err(failed));
    }
    let counted = [(few.interrupts, many.interrupts), (few.flushes, many.flushes)];
    // A host that did not run one of the CPUs for a while makes others wait, and ask again.
    if counted.iter().any(|(few, many)| few.saturating_sub(*many) > SET_UP_VARIES) {
        return Ok(Err("disturbed: the shorter run counted more".into()));
    }
    let more = (loops[1] - loops[0]) * u64::from(CPUS);
    Ok(Ok(counted.map(|(few, many)| many.saturating_sub(few) as f64 * 1e6 / more as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(failed: u64, interrupts: u64) -> String {
        format!(
            "Summary: full_fit_alloc_test passed: 1 failed: {failed} xfailed: 0 repeat: 1 loops: 1 avg: 1 usec\n\
             TLB: {interrupts} interrupts, 10 full flushes, {interrupts} pages flushed one by one\n"
        )
    }

    /// Seen failing with the loops of one worker taken for all.
    #[test]
    fn set_up_cancels_and_loops_are_those_of_all_workers() {
        let subject = Subject::new(2);
        let costs = costs(&subject, System::Vmem, [100, 500], |commands| {
            assert_eq!(commands.matches(" instead=vmem").count(), 3);
            assert_eq!(["=100 ", "=500 "].map(|loops| commands.matches(loops).count()), [2, 1], "{commands}");
            assert_eq!(commands.matches("nr_threads=2").count(), 3);
            Ok(Reply::Done(line(0, 2000) + &line(0, 1000) + &line(0, 1800)))
        });
        assert_eq!(costs.unwrap(), Ok([1e6, 1e6]));
    }

    /// Seen failing: with what is less taken for a disturbance, or for a cost.
    #[test]
    fn a_little_less_than_before_is_nothing() {
        let costs = |few| {
            let text = line(0, 90) + &line(0, few) + &line(0, 40);
            costs(&Subject::new(2), System::Here, [1000, 5000], |_| Ok(Reply::Done(text))).unwrap()
        };
        assert_eq!(costs(40), Ok([0.0, 0.0]));
        assert_eq!(costs(44), Ok([0.0, 0.0]));
        assert_eq!(costs(40 + SET_UP_VARIES), Ok([0.0, 0.0]));
        assert_eq!(costs(41 + SET_UP_VARIES), Err("disturbed: the shorter run counted more".into()));
    }

    #[test]
    fn what_fails_and_what_says_little_have_no_costs() {
        for (text, why) in [
            (line(0, 1) + &line(0, 1), "printed too little"),
            (line(0, 1) + &line(0, 1) + &line(1, 1), "failed"),
            (line(1, 1) + &line(0, 1) + &line(0, 1), "failed"),
            (line(0, 1) + &line(0, 18) + &line(0, 1), "disturbed: the shorter run counted more"),
        ] {
            let costs = costs(&Subject::new(2), System::Here, [1, 2], |commands| {
                assert!(!commands.contains("instead"));
                Ok(Reply::Done(text))
            });
            assert_eq!(costs.unwrap(), Err(why.to_owned()));
        }
        let costs = costs(&Subject::new(2), System::Here, [1, 2], |_| Ok(Reply::Failed("broke".into())));
        assert_eq!(costs.unwrap(), Err("broke".into()));
    }
}
