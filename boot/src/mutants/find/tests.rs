//! Which changes are found, and which are not.

use super::*;

/// The texts of a file's changes, without its name.
fn texts(source: &str) -> Vec<String> {
    let changes = changes("f.rs", source, Tests::Units).unwrap().changes;
    changes.iter().map(|change| change.text.trim_start_matches("f.rs:").to_owned()).collect()
}

#[test]
fn operators_and_bodies_are_named_as_cargo_mutants_names_them() {
    let source = "impl<'a> Bitmap<'a> {\n    fn has(&self, x: u8) -> bool {\n        x  <  3\n    }\n}\n";
    let expected = [
        "3:9: replace Bitmap<'a>::has -> bool with true",
        "3:9: replace Bitmap<'a>::has -> bool with false",
        "3:12: replace < with == in Bitmap<'a>::has",
        "3:12: replace < with > in Bitmap<'a>::has",
        "3:12: replace < with <= in Bitmap<'a>::has",
    ];
    assert_eq!(texts(source), expected);
    let source = "impl Debug for A<u8> { fn fmt(&self) -> fmt::Result { b() } } trait T { fn f() { a -= 1; } fn g(); }";
    let expected = [
        "1:55: replace <impl Debug for A<u8>>::fmt -> fmt::Result with Ok(Default::default())",
        "1:82: replace T::f with ()",
        "1:84: replace -= with += in T::f",
        "1:84: replace -= with /= in T::f",
    ];
    assert_eq!(texts(source), expected);
}

/// Seen failing: with a body that is its own change.
#[test]
fn what_is_there_already_is_no_change() {
    assert_eq!(texts("fn f() -> bool { false }"), ["1:18: replace f -> bool with true"]);
    assert_eq!(texts("fn f() -> u8 { g(); 0 }").len(), 2);
}

/// It would call itself.
#[test]
fn a_default_is_not_replaced_with_itself() {
    assert_eq!(texts("fn f() -> A { b() }"), ["1:15: replace f -> A with Default::default()"]);
    assert_eq!(texts("fn default() -> A { b() }"), [""; 0]);
    assert_eq!(texts("fn default() -> bool { b() }").len(), 2);
}

#[test]
fn what_is_bound_and_what_is_repeated_is_looked_at() {
    let plus = ["1:25: replace + with - in f", "1:25: replace + with * in f"];
    assert_eq!(texts("fn f() -> ! { let a = 1 + 2; }"), plus);
    assert_eq!(texts("fn f() -> ! { #[cfg(test)] let a = 1 + 2; }"), [""; 0]);
    assert_eq!(texts("fn f() -> ! { a([     1 + 2; 3 * 4]) }"), plus);
}

#[test]
fn names_have_the_modules_and_functions_around_them() {
    assert_eq!(
        texts("mod m { fn f() { fn g() { x(); } } }"),
        ["1:18: replace m::f with ()", "1:27: replace m::f::g with ()"]
    );
}

#[test]
fn what_is_known_before_the_program_runs_stays() {
    for none in [
        "const A: u8 = 1 + 2; static B: u8 = 1 + 2; enum E { A = 1 + 2 } struct S([u8; 1 + 2]);",
        "impl A { const B: u8 = 1 + 2; }",
        "trait T { const B: u8 = 1 + 2; }",
        "fn f() -> ! { const A: u8 = 1 + 2; let x: [u8; 1 + 2] = [0; 1 + 2]; g::<{ 1 + 2 }>(); const { 1 + 2 } }",
        "fn f() -> ! { match x { 1 | 2 => {} } }",
        "fn f() -> ! { assert!(1 < 2); }",
        "macro_rules! m { () => { 1 + 2 } }",
        "fn f() {}",
    ] {
        assert_eq!(texts(none), [""; 0], "{none}");
    }
}

#[test]
fn a_function_for_constants_too_is_changed_where_it_is_called_at_run_time() {
    assert_eq!(texts("impl A { const fn f() -> ! { 1 < 2 } }").len(), 3);
}

#[test]
fn what_is_for_tests_only_or_in_no_test_program_stays() {
    for none in [
        "#![cfg(test)] fn f() { a(); }",
        "#[cfg(test)] fn f() { a(); }",
        "#[cfg(all(test, feature = \"x\"))] mod m { fn f() { a(); } }",
        "#[cfg(loom)] impl A { fn f() { a(); } }",
        "impl A { #[cfg(shuttle)] fn f() { a(); } }",
        "trait A { #[cfg(target_os = \"none\")] fn f() { a(); } }",
        "#[cfg(test)] trait A { fn f() { a(); } }",
        "#[test] fn f() { a(); }",
        "fn f() -> ! { #[cfg(test)] let x = 1 + 2; #[cfg(test)] { 1 + 2 }; match x { #[cfg(test)] _ => 1 + 2 } }",
    ] {
        assert_eq!(texts(none), [""; 0], "{none}");
    }
    assert_eq!(texts("#[cfg(any(test, feature = \"x\"))] fn f() { a(); }").len(), 1);
}

#[test]
fn conditions_that_bind_names_stay_whole_and_their_parts_do_not() {
    let one = ["1:39: replace == with != in f"];
    assert_eq!(texts("fn f() -> ! { if let Some(x) = y && x == 1 && z {} }"), one);
    assert_eq!(texts("fn f() -> ! { if y && x == 1 && z {} }").len(), 3);
    let guard = "fn f() -> ! { match x { y if y == 1 => {} } }";
    assert_eq!(texts(guard), ["1:32: replace == with != in f"]);
}

#[test]
fn a_default_does_not_become_itself() {
    assert_eq!(texts("impl Default for A { fn default() -> Self { A } }"), [""; 0]);
}

#[test]
fn a_change_of_several_lines_is_written_on_one() {
    let found = changes("f.rs", "fn f() -> ! { a // b\n + c(\n) }", Tests::Units).unwrap();
    assert_eq!(found.changes[0].edit, Edit::Instead { place: 14..28, with: "(a) - (c ())".into() });
}
