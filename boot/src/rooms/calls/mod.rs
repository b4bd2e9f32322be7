//! The arrows that the compiler shows: who calls whom, read from the text of its intermediate representation.
//!
//! The text is for readers, and may change with the compiler. So what is not understood is left out, and the tests of
//! this folder compile a crate and look for the arrows that it must have.

mod paths;

use std::collections::{BTreeMap, BTreeSet};

use self::paths::{Path, Segment};
use super::arrow::{Arrow, End, Kind};
use super::source::{Source, path};

/// What the crate's functions refer to.
#[derive(Debug, Default)]
struct Text<'a> {
    /// All functions, constants and statics.
    defined: BTreeSet<End>,
    /// The lines of each.
    lines: Vec<(End, &'a str)>,
    /// Statics, by the names of their bytes.
    statics: BTreeMap<&'a str, End>,
}

/// All arrows between modules that the text shows.
#[must_use]
pub fn arrows(source: &Source, text: &str) -> BTreeSet<Arrow> {
    let text = read(source, text);
    let mut arrows = BTreeSet::new();
    for (from, line) in &text.lines {
        for path in paths::all(line) {
            for to in resolve(source, &text, &path) {
                if to.module != from.module {
                    arrows.insert(Arrow { from: from.clone(), to, kind: Kind::Call });
                }
            }
        }
    }
    arrows
}

/// Takes the text apart.
fn read<'a>(source: &Source, text: &'a str) -> Text<'a> {
    let mut read = Text::default();
    let mut body = None;
    for line in text.lines() {
        if line.starts_with("alloc") {
            body = None;
            if let Some((name, rest)) = line.split_once(" (static: ")
                && let Some(end) = definition(source, rest)
            {
                read.statics.insert(name, end);
            }
        } else if line.starts_with(['}', '/']) {
            body = None;
        } else if !line.is_empty() && !line.starts_with(' ') {
            let words = ["fn ", "const ", "static ", "mut "];
            let path = words.iter().fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
            body = definition(source, path);
            read.defined.extend(body.clone().filter(|end| !is_type(&end.name)));
        } else if let Some(body) = &body
            && is_statement(line.trim_start())
        {
            read.lines.push((body.clone(), line));
        }
    }
    read
}

/// Whether a line does something, and does not only declare.
fn is_statement(line: &str) -> bool {
    !["let ", "debug ", "scope ", "bb", "}"].iter().any(|word| line.starts_with(word))
}

/// Whether a name is that of a type or a variant, whose constructors are no calls worth counting.
fn is_type(name: &str) -> bool {
    name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase)
}

/// What is defined under the path that a line begins with.
fn definition(source: &Source, line: &str) -> Option<End> {
    let path = first(line)?;
    let mut names = paths::names(&path);
    names.retain(|name| *name != "promoted");
    end(source, &path, &names)
}

/// The path that a text begins with.
fn first(text: &str) -> Option<Path<'_>> {
    let begins = |path: &Path<'_>| match path.first() {
        Some(Segment::Name(name)) => name.as_ptr() == text.as_ptr(),
        Some(Segment::Angle(inner)) => inner.as_ptr() == text[1..].as_ptr(),
        _ => false,
    };
    // What stands in a path's brackets comes before it.
    paths::all(text).into_iter().find(begins)
}

/// The module that a path's first names lead to, and its last name; none for another crate's.
fn end(source: &Source, whole: &[Segment<'_>], names: &[&str]) -> Option<End> {
    let (last, before) = names.split_last()?;
    let leading = whole.iter().take_while(|segment| matches!(segment, Segment::Name(_))).count();
    let depth = source.depth(&before[..leading.min(before.len())]);
    let in_root = leading == 0 || source.root_has(names[0]);
    (depth > 0 || in_root).then(|| End::new(path(&names[..depth]), *last))
}

/// What a path refers to.
fn resolve(source: &Source, text: &Text<'_>, path: &[Segment<'_>]) -> Vec<End> {
    let names = paths::names(path);
    match path {
        [Segment::Angle(inner), _, ..] if let Some((of_type, of_trait)) = paths::cast(inner) => {
            let Some(name) = names.last() else { return Vec::new() };
            let (of_trait, trait_name) = type_of(source, of_trait);
            let implementation = implementation(source, of_type, trait_name, name);
            let declared = of_trait.map(|module| End::new(module, format!("{trait_name}::{name}")));
            declared.into_iter().chain(implementation.filter(|end| text.defined.contains(end))).collect()
        }
        [Segment::Name(one)] if let Some(end) = text.statics.get(one) => vec![end.clone()],
        _ => end(source, path, &names).filter(|end| text.defined.contains(end)).into_iter().collect(),
    }
}

/// The module of a type or trait, if it is this crate's, and its last name.
fn type_of<'a>(source: &Source, text: &'a str) -> (Option<String>, &'a str) {
    let path = first(text).filter(|path| matches!(path[0], Segment::Name(_))).unwrap_or_default();
    let names = paths::names(&path);
    (end(source, &path, &names).map(|end| end.module), names.last().copied().unwrap_or_default())
}

/// The function of a trait for a type of this crate: where the trait is implemented, else, as what is derived, where
/// the type is.
fn implementation(source: &Source, of_type: &str, of_trait: &str, name: &str) -> Option<End> {
    let of_type = of_type.trim_start_matches(['&', '*']);
    let of_type =
        ["mut ", "const "].iter().fold(of_type, |text, word| text.strip_prefix(word).unwrap_or(text));
    let (module, type_name) = type_of(source, of_type);
    let module = module?;
    let written = source.implementations.get(&(of_trait.to_owned(), type_name.to_owned()));
    let module = match written.map(Vec::from_iter).as_deref() {
        Some([only]) => (*only).clone(),
        _ => module,
    };
    Some(End::new(module, name))
}
