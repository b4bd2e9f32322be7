//! Tables and JSON of figures that are known.

use super::*;
use crate::bench::cases::Subject;
use crate::bench::figure::{Conditions, Outcome};
use crate::bench::kept::Measured;

pub fn figure(part: Part, system: System, case: u64, cpus: u16, unit: &str, value: f64) -> Figure {
    Figure {
        part,
        system,
        subject: Subject::new(case),
        conditions: Conditions {
            accelerator: "tcg".into(),
            cpus,
            workers: cpus,
            memory: "2G".into(),
            profile: "release".into(),
        },
        loops: vec![10_000, 20_000],
        rounds: 1,
        unit: unit.to_owned(),
        recorded: system == System::Linux,
        outcome: Outcome::Measured { value },
        range: None,
    }
}

fn count(system: System, case: u64, value: f64) -> Figure {
    figure(Part::Cases, system, case, 1, Subject::new(case).unit(), value)
}

#[test]
fn a_row_has_both_systems_and_the_ratio() {
    let table = all(&Figures(vec![count(System::Here, 1, 329.4), count(System::Linux, 1, 3862.0)]));
    assert!(table.contains("the difference of 10000 and 20000 loops. tcg, 1 CPU, 2G memory, release build."));
    assert!(table.contains("RECORDED"), "{table}");
    assert!(
        table.ends_with(
            "case                       here  Linux  ratio\n\
         1     fix_size_alloc_test   329   3862  0.085\n"
        ),
        "{table}"
    );
}

#[test]
fn a_row_from_another_machine_says_so() {
    let mut large = count(System::Here, 2, 1.0);
    large.conditions.memory = "8G".into();
    let table = all(&Figures(vec![count(System::Here, 1, 1.0), large]));
    assert!(
        table.contains("full_fit_alloc_test, 8G memory") && !table.contains("fix_size_alloc_test,"),
        "{table}"
    );
}

#[test]
fn nothing_is_compared_with_what_is_missing() {
    let mut missing = count(System::Here, 128, 0.0);
    missing.outcome = Outcome::Left { left_out: "needs 8G".into() };
    let table = all(&Figures(vec![missing, count(System::Linux, 128, 19_600.0)]));
    assert!(table.ends_with("128   pcpu_alloc_test, an object  needs 8G  19600\n"), "{table}");
    assert_eq!(all(&Figures::default()), "");
}

#[test]
fn rates_are_compared_with_one_cpu_and_with_linux() {
    let rate = |system, cpus, value| figure(Part::Timed, system, 1, cpus, RATE, value);
    let table = all(&Figures(vec![
        rate(System::Here, 1, 1e6),
        figure(Part::Timed, System::Here, 1, 1, WAITS, 0.0),
        rate(System::Here, 4, 2.5e6),
        figure(Part::Timed, System::Here, 1, 4, WAITS, 7.25),
        rate(System::Linux, 4, 1e5),
    ]));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let [.., one, four] = &rows[..] else { panic!() };
    assert_eq!(one[2..], ["1", "1000020000", "1000000", "1.00", "0"]);
    assert_eq!(four[2..], ["4", "1000020000", "2500000", "2.50", "7.2", "100000", "25.0"]);
}

#[test]
fn a_figure_in_json_has_all_that_it_depends_on() {
    let mut failed = count(System::Here, 2, 0.0);
    failed.outcome = Outcome::Failed { failed: "x".into() };
    let figures = Figures(vec![count(System::Here, 1, 329.5), failed]);
    assert!(figures.any_failed());
    let text = Measured::now(figures, Some("Linux 1".into())).json();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["linux"], "Linux 1");
    let expected = serde_json::json!({
        "part": "cases", "system": "here", "case": 1, "name": "fix_size_alloc_test", "nr_pages": 1,
        "nr_sets": 1, "live_areas": 0, "zeroed": false, "accelerator": "tcg", "cpus": 1, "workers": 1, "memory": "2G",
        "profile": "release", "loops": [10_000, 20_000], "rounds": 1, "unit": "instructions a loop",
        "recorded": false, "value": 329.5
    });
    assert_eq!(json["figures"][0], expected);
    assert_eq!(json["figures"][1]["failed"], "x");
    assert!(json["figures"][1].get("value").is_none());
}
