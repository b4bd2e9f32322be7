//! A crate of three rooms, compiled, and the arrows that it must have.

use std::env;
use std::process::Command;

use super::arrow::{End, Kind};
use super::*;

/// A crate whose rooms are in order, but for what a test changes.
const FILES: [(&str, &str); 6] = [
    (
        "lib.rs",
        "mod attic; mod cellar; mod hall; #[cfg(test)] mod tests;
        pub use attic::Roof; pub use cellar::Wine;
        pub struct House; impl House { pub fn root() {} }",
    ),
    (
        "attic.rs",
        "use crate::{House, Wine, cellar}; use crate::hall::Door;
        pub struct Roof;
        impl Roof { pub fn drip(wine: &Wine) -> u32 { wine.pour(); wine.look() + cellar::stairs() } }
        impl House { pub fn climb<D: Door>(door: &D) { door.open(); [1].map(cellar::each); } }",
    ),
    (
        "hall/mod.rs",
        "mod mat; mod lamp; mod bell; use crate::cellar::Wine;
        pub trait Door { fn open(&self) {} }
        impl Door for Wine {}
        impl Wine { pub fn look(&self) -> u32 { mat::lie(); crate::cellar::LIGHT } }
        pub fn ring() {}",
    ),
    ("hall/mat.rs", "pub fn lie() { super::lamp::shine(); }"),
    ("hall/lamp.rs", "pub fn shine() { super::bell::ring(); }"),
    ("hall/bell.rs", "pub fn ring() {}"),
];

const CELLAR: &str = "pub struct Wine; impl Wine { pub fn pour(&self) {} }
    pub const LIGHT: u32 = 1; pub fn stairs() -> u32 { 2 } pub fn each(x: u32) -> u32 { x }";

/// Compiles the crate with what `changed` says instead of, or after, its own files.
fn plan(changed: &[(&str, &str)]) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join("src").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    FILES.iter().chain(&[("cellar.rs", CELLAR)]).chain(changed).for_each(|(name, text)| write(name, text));
    let source = Source::read(folder.path()).unwrap();
    let mir = folder.path().join("out.mir");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let made = Command::new(compiler)
        .args(["--crate-name=house", "--crate-type=lib", "--edition=2024", "-Aunused", "src/lib.rs"])
        .args(cargo::CALLS)
        .arg(format!("--emit=mir={}", mir.display()))
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut arrows = source.arrows();
    arrows.extend(calls::arrows(&source, &fs::read_to_string(mir).unwrap()));
    let order = order::parse("house/ROOMS", "attic Old things.\nhall The way in.\ncellar Wine.\n").unwrap();
    Plan { folder: "house".into(), source, arrows, order: Some(order) }
}

fn has(plan: &Plan, kind: Kind, from: (&str, &str), to: (&str, &str)) -> bool {
    let (from, to) = (End::new(from.0, from.1), End::new(to.0, to.1));
    plan.arrows.iter().any(|arrow| arrow.kind == kind && arrow.from == from && arrow.to == to)
}

#[test]
fn calls_lead_to_the_room_that_a_function_is_written_in() {
    let plan = plan(&[]);
    for (from, to) in [
        // A method is where its `impl` is, not where its type is.
        (("attic", "drip"), ("hall", "look")),
        (("attic", "drip"), ("cellar", "pour")),
        (("attic", "drip"), ("cellar", "stairs")),
        // A trait's method is where the trait is.
        (("attic", "climb"), ("hall", "Door::open")),
        // A function that is handed on, and a constant.
        (("attic", "climb"), ("cellar", "each")),
        (("hall", "look"), ("cellar", "LIGHT")),
        (("hall", "look"), ("hall::mat", "lie")),
    ] {
        assert!(has(&plan, Kind::Call, from, to), "{from:?} → {to:?} in {:#?}", plan.arrows);
    }
}

#[test]
fn imports_lead_to_the_room_that_a_name_comes_from() {
    let plan = plan(&[]);
    assert!(has(&plan, Kind::Import, ("attic", "crate::Wine"), ("cellar", "Wine")));
    assert!(has(&plan, Kind::Import, ("attic", "cellar::stairs"), ("cellar", "stairs")));
    assert!(has(&plan, Kind::Import, ("hall", "crate::cellar::LIGHT"), ("cellar", "LIGHT")));
    assert!(has(&plan, Kind::ReExport, ("", "attic::Roof"), ("attic", "Roof")));
}

#[test]
fn what_runs_down_is_in_order_and_what_the_root_defines_is_up() {
    assert_eq!(
        plan(&[]).order_offences(),
        ["house/src/attic.rs → house/src/lib.rs: names crate::House (up: attic → lib)"]
    );
}

#[test]
fn each_way_up_is_named_with_both_functions() {
    let dirty = format!("{CELLAR} use crate::hall; pub fn flood() {{ hall::ring(); Wine.look(); }}");
    let mut offences = plan(&[("cellar.rs", &dirty)]).order_offences();
    offences.retain(|line| line.contains("cellar → hall"));
    assert_eq!(
        offences,
        [
            "house/src/cellar.rs → house/src/hall/mod.rs: names crate::hall (up: cellar → hall)",
            "house/src/cellar.rs → house/src/hall/mod.rs: names hall::ring (up: cellar → hall)",
            "house/src/cellar.rs:flood → house/src/hall/mod.rs:look (up: cellar → hall)",
            "house/src/cellar.rs:flood → house/src/hall/mod.rs:ring (up: cellar → hall)",
        ]
    );
}

#[test]
fn tests_may_use_what_they_like() {
    let free = format!(
        "{CELLAR} #[cfg(test)] mod tests {{ use crate::attic::Roof; }} #[cfg(test)] use crate::hall;"
    );
    assert_eq!(plan(&[("cellar.rs", &free)]).order_offences(), plan(&[]).order_offences());
}

#[test]
fn rooms_and_the_order_must_be_the_same_ones() {
    let mut plan = plan(&[]);
    plan.order = Some(order::parse("", "attic a\nhall b\nporch c\n").unwrap());
    let offences = plan.order_offences();
    assert_eq!(
        offences[..2],
        ["house/ROOMS: porch: there is no such room", "house/ROOMS: cellar is not declared"]
    );
    plan.order = None;
    assert_eq!(plan.order_offences(), ["house/ROOMS: there is no such file"]);
}

#[test]
fn a_circle_of_files_is_named_but_not_a_pair() {
    assert!(plan(&[]).circle_offences().is_empty());
    let pair = ("hall/bell.rs", "pub fn ring() { super::lamp::shine(); }");
    assert!(plan(&[pair]).circle_offences().is_empty());
    let circle = ("hall/bell.rs", "pub fn ring() { super::mat::lie(); }");
    let offences = plan(&[circle]).circle_offences();
    let [line] = offences.as_slice() else { panic!("{offences:?}") };
    assert!(line.starts_with("hall: a circle of 3 files: "), "{line}");
    for file in ["bell.rs", "mat.rs", "lamp.rs"] {
        assert!(line.contains(file), "{line}");
    }
}

#[test]
fn a_drawing_has_each_room_with_its_door_and_marks_what_runs_up() {
    let mut plan = plan(&[]);
    let text = draw::plan(&plan);
    // `Door::open` and `look`.
    let hall = "hall           The way in. (4 files, door 2)\n     → cellar (imports 2, calls 1)\n";
    assert!(text.contains(hall), "{text}");
    assert!(text.contains("\n  UP → lib (imports 1, calls 0)\n"), "{text}");
    plan.order = None;
    let text = draw::plan(&plan);
    assert!(text.starts_with("house: there is no ROOMS"), "{text}");
    assert!(!text.contains("knot of"), "{text}");
}

#[test]
fn without_an_order_the_knots_are_drawn() {
    let dirty = format!("{CELLAR} pub fn flood() {{ crate::hall::ring(); }}");
    let mut plan = plan(&[("cellar.rs", &dirty)]);
    plan.order = None;
    let text = draw::plan(&plan);
    assert!(text.contains("a knot of 2 rooms, 2 arrows (imports 3, calls 2): cellar hall\n"), "{text}");
}
