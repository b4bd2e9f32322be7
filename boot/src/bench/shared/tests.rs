//! Rounds of which it is known what was printed and counted.

use super::*;

/// What the driver prints for a run of this case.
fn printed(case: u64, failed: u64) -> String {
    let name = Subject::new(case).name;
    format!(
        "Summary: {name} passed: 1 failed: {failed} xfailed: 0 repeat: 1 loops: 1 avg: 1 usec\n\
         Locks: 0 waits; 0 per million loops\nTLB: 0 interrupts, 0 full flushes, 0 pages flushed one by one\n"
    )
}

/// The plugin's file, with so many instructions at each mark.
fn counted(instructions: &[u64]) -> Vec<Snapshot> {
    let mut text =
        "snapshot cpu instructions locked lines invlpg cr3 cr4 interrupts pauses unseen\n".to_owned();
    for (number, count) in instructions.iter().enumerate() {
        text += &format!("{number} 0 {count} 0 0 0 0 0 0 0 0\n");
    }
    counts::snapshots(&text).unwrap()
}

/// Seen failing with the warm-up taken for the shorter run.
#[test]
fn a_case_is_warmed_up_and_counted_between_its_marks() {
    let (mut at, mut marks) = (0, Vec::new());
    for (index, (_, loops, _)) in CASES.into_iter().enumerate() {
        // Each loop of both workers takes 10 and one more for each case before; the warm-up takes more.
        for loops in [loops * 7, loops, loops * LONGER] {
            at += 1_000 + 2 * loops * (10 + index as u64);
            marks.push(at);
        }
    }
    let round = round_here(2, |commands| {
        assert_eq!(commands.matches("mark").count(), marks.len());
        assert_eq!(commands.matches("nr_threads=2").count(), marks.len());
        let text: String = CASES.iter().map(|(case, ..)| printed(*case, 0).repeat(3)).collect();
        Ok(Ok((text, counted(&marks))))
    });
    let instructions = round.unwrap().map(|counted| counted.unwrap()[0]);
    assert_eq!(instructions, [10.0, 11.0, 12.0, 13.0, 14.0]);
}

#[test]
fn a_case_that_fails_or_makes_no_mark_has_no_counts() {
    let good: String = CASES.iter().map(|(case, ..)| printed(*case, 0).repeat(3)).collect();
    let bad = good.replacen("failed: 0", "failed: 1", 1);
    let marks: Vec<u64> = (1..=15).collect();
    let failures = |ran: Ran| {
        let round = round_here(4, |_| Ok(ran.clone())).unwrap();
        round.map(|counted| matches!(counted, Err(Outcome::Failed { .. })))
    };
    assert_eq!(failures(Ok((good.clone(), counted(&marks)))), [false; 5]);
    assert_eq!(failures(Ok((bad, counted(&marks)))), [true, false, false, false, false]);
    assert_eq!(failures(Ok((good.clone(), counted(&marks[..14])))), [false, false, false, false, true]);
    assert_eq!(failures(Ok((String::new(), counted(&marks)))), [true; 5]);
    assert_eq!(failures(Err(failure("x"))), [true; 5]);
}

#[test]
fn linux_is_counted_from_its_start_for_each_number_of_loops() {
    let round = round_on_linux(4, |parameters, name| {
        let of = |wanted| parameters.iter().find(|(name, _)| *name == wanted).unwrap().1;
        assert_eq!((of("nr_threads"), Subject::new(of("run_test_mask")).name), (4, name));
        let loops = of("test_loop_count");
        Ok(Ok((printed(of("run_test_mask"), 0), counted(&[3_000_000 + 4 * 100 * loops]))))
    });
    assert_eq!(round.unwrap().map(|counted| counted.unwrap()[0]), [100.0; 5]);
    let round = round_on_linux(4, |_, _| Ok(Err(failure("x"))));
    assert!(round.unwrap().iter().all(|counted| counted.is_err()));
}

/// Seen failing with the mean for the median.
#[test]
fn figures_have_the_median_the_range_and_the_model() {
    let conditions = ours::conditions(&ours::emulated(2, MEMORY), 2);
    let template = figure(System::Here, FIX_SIZE, 10, &conditions);
    let round = |instructions: f64| {
        let mut counted = [0.0; KINDS.len()];
        counted[0] = instructions;
        Ok(counted)
    };
    let figures = of_rounds(&template, &[round(400.0), round(1000.0), round(500.0)]);
    let units: Vec<&str> = figures.iter().map(|figure| figure.unit.as_str()).collect();
    assert_eq!((units[0], units[KINDS.len()], units.len()), (KINDS[0].1, model::UNIT, KINDS.len() + 1));
    assert_eq!((figures[0].outcome.value(), figures[0].range), (Some(500.0), Some([400.0, 1000.0])));
    let model = figures.last().unwrap();
    assert_eq!((model.outcome.value(), model.range), (Some(125.0), Some([100.0, 250.0])));
    let figures = of_rounds(&template, &[round(400.0), Err(failure("x"))]);
    assert!(figures.iter().all(|figure| figure.outcome == failure("x") && figure.range.is_none()));
}

#[test]
fn commas_of_a_path_are_doubled() {
    assert_eq!(word(Path::new("/a,b/c")).unwrap(), "/a,,b/c");
}
