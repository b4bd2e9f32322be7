//! Writes a source file with all its changes, each behind a switch that the environment turns on.
//!
//! An expression becomes `(if is(1) { changed } else if is(2) { changed again } else { (as it was) })`, in which "as it
//! was" has the switches of what is inside, and the changed ones do not: one change is made at a time. No line is added
//! or taken away.

use std::cmp::Reverse;
use std::ops::Range;

use super::find::{Change, Edit};

/// The environment variable that has the number of the change to make.
pub const CHANGE: &str = "VMALLOC_MUTANT";

/// The environment variable that names the file to which the numbers of the changes go that the program comes to: four
/// bytes each.
pub const NOTED: &str = "VMALLOC_MUTANTS_NOTED";

/// A file with switches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The file's text.
    pub text: String,
    /// Bytes of the text, and the changes that made them what they are; larger ones come after those inside.
    pub places: Vec<(Range<usize>, Vec<u32>)>,
}

impl Written {
    /// The changes that made the smallest place what it is that has these bytes.
    #[must_use]
    pub fn changes_at(&self, bytes: &Range<usize>) -> &[u32] {
        let around = |place: &Range<usize>| place.start <= bytes.start && bytes.end <= place.end;
        let places = self.places.iter().filter(|(place, _)| around(place));
        places.min_by_key(|(place, _)| place.len()).map_or(&[], |(_, changes)| changes)
    }
}

/// Writes a file with some of its changes.
#[must_use]
pub fn write(source: &str, changes: &[&Change]) -> Written {
    let mut changes = changes.to_vec();
    // The outer ones first, and before them what only adds something.
    changes.sort_by_key(|change| {
        let place = change.edit.place();
        (place.start, !place.is_empty(), Reverse(place.end), change.id)
    });
    let mut written = Written::default();
    let all = 0..source.len();
    range(source, &all, &changes, &mut written);
    written
}

/// Writes a part of a file, which has all of `changes`.
fn range(source: &str, part: &Range<usize>, mut changes: &[&Change], out: &mut Written) {
    let mut at = part.start;
    while let Some(first) = changes.first() {
        let place = first.edit.place();
        let same = changes.iter().take_while(|change| change.edit.place() == place).count();
        let inside = changes[same..].iter().take_while(|change| change.edit.place().end <= place.end);
        let inside = inside.take_while(|change| change.edit.place().start < place.end).count();
        out.text += &source[at..place.start];
        let start = out.text.len();
        let (here, rest) = changes.split_at(same);
        let (inner, rest) = rest.split_at(inside);
        for (number, change) in here.iter().enumerate() {
            switch(change, number == 0, out);
        }
        if !place.is_empty() {
            out.text += " else { (";
            range(source, &place, inner, out);
            out.text += ") })";
        }
        let ids = here.iter().map(|change| change.id).collect();
        out.places.push((start..out.text.len(), ids));
        at = place.end;
        changes = rest;
    }
    out.text += &source[at..part.end];
}

fn switch(change: &Change, is_first: bool, out: &mut Written) {
    let asked = format!("if crate::mutant_switches::is({})", change.id);
    let (before, what, after) = match &change.edit {
        Edit::Return { value, .. } => (format!(" {asked} {{ return "), value, "; }"),
        Edit::Instead { with, .. } => {
            (format!("{}{asked} {{ ", if is_first { "(" } else { " else " }), with, " }")
        }
    };
    out.text += &before;
    let start = out.text.len();
    out.text += what;
    out.places.push((start..out.text.len(), vec![change.id]));
    out.text += after;
}

/// What the compiler must be told to take the [`module`].
pub const FEATURES: &str = "-Zcrate-attr=feature(core_intrinsics,const_eval_select)";

/// The module that asks which change to make, for a library whose changes have numbers up to `last`.
///
/// The environment is read when it is first asked: what it is asked by may be what allocates. While the compiler computes
/// a constant no change is made.
#[must_use]
pub fn module(last: u32) -> String {
    let words = last / 64 + 1;
    format!(
        r#"
#[doc(hidden)]
pub(crate) mod mutant_switches {{
    extern crate std as host;
    use core::intrinsics::const_eval_select;
    use core::sync::atomic::{{AtomicU32, AtomicU64, Ordering::Relaxed}};
    use host::{{env, fs::File, io::Write, sync::OnceLock}};

    const NOTING: u32 = u32::MAX - 1;
    const UNREAD: u32 = u32::MAX;
    static WANTED: AtomicU32 = AtomicU32::new(UNREAD);
    static NOTED: [AtomicU64; {words}] = [const {{ AtomicU64::new(0) }}; {words}];
    static FILE: OnceLock<File> = OnceLock::new();

    #[inline]
    pub const fn is(id: u32) -> bool {{
        const_eval_select((id,), never, at_run_time)
    }}

    const fn never(_: u32) -> bool {{
        false
    }}

    #[inline]
    fn at_run_time(id: u32) -> bool {{
        let wanted = WANTED.load(Relaxed);
        if wanted < NOTING {{ wanted == id }} else {{ rarely(id, wanted) }}
    }}

    #[cold]
    #[inline(never)]
    fn rarely(id: u32, wanted: u32) -> bool {{
        if wanted == UNREAD {{
            WANTED.store(0, Relaxed);
            WANTED.store(read(), Relaxed);
            return at_run_time(id);
        }}
        let bit = 1 << (id % 64);
        if NOTED[id as usize / 64].fetch_or(bit, Relaxed) & bit == 0 {{
            let _ = FILE.get().map(|mut file| file.write_all(&id.to_le_bytes()));
        }}
        false
    }}

    fn read() -> u32 {{
        if let Some(file) = env::var_os("{NOTED}").and_then(|name| File::create(name).ok()) {{
            let _ = FILE.set(file);
            return NOTING;
        }}
        env::var("{CHANGE}").ok().and_then(|id| id.parse().ok()).unwrap_or(0)
    }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;
    use crate::cfg::Tests;

    /// The file with those of its changes whose text has one of `wanted`.
    fn written(source: &str, wanted: &[&str]) -> Written {
        let mut changes = find::changes("f.rs", source, Tests::Units).unwrap().changes;
        for (id, change) in (1..).zip(&mut changes) {
            change.id = id;
        }
        let wanted: Vec<&Change> =
            changes.iter().filter(|change| wanted.iter().any(|text| change.text.contains(text))).collect();
        write(source, &wanted)
    }

    #[test]
    fn operators_and_bodies_get_switches_where_they_are() {
        let written = written("fn f(a: u8) -> bool { a < 3 }", &["with false", "with =="]);
        let expected = "fn f(a: u8) -> bool { if crate::mutant_switches::is(2) { return false; } \
            (if crate::mutant_switches::is(3) { (a) == (3) } else { (a < 3) }) }";
        assert_eq!(written.text, expected);
    }

    #[test]
    fn what_stood_in_the_place_stays_one_operand_and_what_is_inside_has_its_own_switches() {
        let written = written("fn f(a: u8) { g(a * a + 2) }", &["+ with *", "* with +"]);
        let expected = "fn f(a: u8) { g((if crate::mutant_switches::is(3) { (a * a) * (2) } else { (\
            (if crate::mutant_switches::is(4) { (a) + (a) } else { (a * a) }) + 2) })) }";
        assert_eq!(written.text, expected);
    }

    #[test]
    fn a_body_that_begins_with_an_operator_has_both() {
        let written = written("fn f()->bool{1<2}", &["with true", "with >"]);
        let expected = "fn f()->bool{ if crate::mutant_switches::is(1) { return true; }\
            (if crate::mutant_switches::is(4) { (1) > (2) } else { (1<2) })}";
        assert_eq!(written.text, expected);
    }

    #[test]
    fn several_changes_of_one_operator_are_asked_for_in_turn() {
        let written = written("fn f(a: u8) { a += 1; }", &["+="]);
        let expected = "fn f(a: u8) { (if crate::mutant_switches::is(2) { (a) -= (1) } else if crate::mutant_switches::is(3) \
            { (a) *= (1) } else { (a += 1) }); }";
        assert_eq!(written.text, expected);
    }

    #[test]
    fn lines_stay_where_they_are() {
        let source = "fn f(a: bool) -> bool {\n    a // one\n        && {\n  a }\n}\n";
        let written = written(source, &["replace"]);
        assert_eq!(written.text.lines().count(), source.lines().count());
        assert!(written.text.contains("{ (a) || ({ a }) }"), "{}", written.text);
    }

    #[test]
    fn the_smallest_place_around_an_error_tells_its_change() {
        let written = written("fn f(a: u8) { g(a * a + 2); a; }", &["+ with *", "* with +"]);
        let at = |text: &str| {
            let start = written.text.find(text).unwrap();
            written.changes_at(&(start..start + text.len())).to_vec()
        };
        assert_eq!(at("(a * a) * (2)"), [3]);
        assert_eq!(at("(a) + (a)"), [4]);
        assert_eq!(at("(a * a) })"), [4]);
        assert_eq!(at("+ 2"), [3]);
        assert_eq!(at("; a;"), [0; 0]);
    }

    #[test]
    fn the_module_is_rust() {
        assert!(syn::parse_file(&module(4711)).is_ok());
        assert!(module(64).contains("AtomicU64; 2]"));
    }
}
