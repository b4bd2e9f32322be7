//! The arrows that the source shows: what modules import, and the paths in their code.

use std::collections::BTreeSet;

use super::super::arrow::{Arrow, End, Kind};
use super::{Source, join};

/// How many re-exports of re-exports are followed: more would be a circle.
const DEPTH: u32 = 16;

/// All arrows between modules that the source shows.
#[must_use]
pub fn arrows(source: &Source) -> BTreeSet<Arrow> {
    let mut arrows = BTreeSet::new();
    for (name, module) in &source.modules {
        let imports = module.names.imports.iter().map(|import| match import.public {
            true => (Kind::ReExport, &import.path),
            false => (Kind::Import, &import.path),
        });
        let paths = module.names.paths.iter().map(|path| (Kind::Import, path));
        for (kind, path) in imports.chain(paths) {
            if let Some(to) = resolve(source, name, path, DEPTH)
                && to.module != *name
            {
                arrows.insert(Arrow { from: End::new(name, path.join("::")), to, kind });
            }
        }
    }
    arrows
}

/// What a path in a module means, if it is something of this crate.
fn resolve(source: &Source, module: &str, path: &[String], depth: u32) -> Option<End> {
    let mut at = module.to_owned();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            at.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {}
        first if source.modules.contains_key(&join(module, first)) => {}
        // Through a module that was imported; if it was anything else, its import is arrow enough.
        first if depth > 0 => {
            at = re_exported(source, module, first, depth).filter(|end| end.name.is_empty())?.module;
            rest = &rest[1..];
        }
        _ => return None,
    }
    while rest.first().is_some_and(|name| name == "super") {
        at = at.rsplit_once("::").map_or_else(String::new, |(parent, _)| parent.to_owned());
        rest = &rest[1..];
    }
    while let Some(name) = rest.first()
        && source.modules.contains_key(&join(&at, name))
    {
        at = join(&at, name);
        rest = &rest[1..];
    }
    let Some(name) = rest.first() else { return Some(End::new(at, "")) };
    let end = if depth > 0 { re_exported(source, &at, name, depth) } else { None };
    Some(end.unwrap_or_else(|| End::new(at, name)))
}

/// Where a name comes from that the module has from another one of this crate.
fn re_exported(source: &Source, module: &str, name: &str, depth: u32) -> Option<End> {
    let names = &source.modules[module].names;
    if names.items.contains(name) {
        return None;
    }
    if module.is_empty()
        && let Some(definer) = source.exported.get(name)
    {
        return Some(End::new(definer, name));
    }
    let named = names.imports.iter().find(|import| import.name.as_deref() == Some(name));
    if let Some(import) = named {
        return resolve(source, module, &import.path, depth - 1);
    }
    let globs = names.imports.iter().filter(|import| import.name.is_none());
    globs
        .filter_map(|import| resolve(source, module, &import.path, depth - 1))
        .find(|glob| glob.name.is_empty() && source.modules[&glob.module].names.items.contains(name))
        .map(|glob| End::new(glob.module, name))
}
