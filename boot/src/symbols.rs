//! Functions, files and lines of a kernel's addresses.

use std::cell::OnceCell;
use std::fmt::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use addr2line::Context;
use gimli::{Dwarf, EndianRcSlice, Error, LittleEndian};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind, SymbolMap, SymbolMapEntry};

use crate::places;

/// Callers of a CPU that are told, at the most.
const CALLERS: usize = 12;

/// What a kernel's file tells of its addresses. It is read when it is first asked.
pub struct Symbols {
    elf: Option<PathBuf>,
    read: OnceCell<Option<Read>>,
}

struct Read {
    lines: Context<EndianRcSlice<LittleEndian>>,
    functions: SymbolMap<Named>,
    /// The code, and where it is in memory.
    code: Vec<u8>,
    range: Range<u64>,
}

/// A function's address in the ELF, and its symbol.
struct Named(u64, String);

impl SymbolMapEntry for Named {
    fn address(&self) -> u64 {
        self.0
    }
}

/// Where an address is. Of functions that are inlined there, and what they are inlined in, it is the innermost one of the
/// workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The function, with its path where that is known.
    pub function: String,
    /// The file, below the workspace if it is there, and the line.
    pub line: String,
    /// The function that has the instruction, in which others are inlined.
    pub outer: String,
    is_ours: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.function, self.line)
    }
}

impl Symbols {
    /// The symbols of the kernel `elf`. Of none, or of one that cannot be read, nothing is known.
    #[must_use]
    pub fn of(elf: Option<PathBuf>) -> Self {
        Self { elf, read: OnceCell::new() }
    }

    fn read(&self) -> Option<&Read> {
        self.read.get_or_init(|| self.elf.as_deref().and_then(Read::of)).as_ref()
    }

    /// Returns where an address is, if that is known.
    #[must_use]
    pub fn place(&self, address: u64) -> Option<Place> {
        self.read()?.place(address)
    }

    /// Returns an address as `function file:line`, or as a number if nothing is known of it.
    #[must_use]
    pub fn name(&self, address: u64) -> String {
        self.place(address).map_or_else(|| format!("{address:#x}"), |place| place.to_string())
    }

    /// Returns a CPU's backtrace as lines: where it is, and who called that. `words` are those of its stack; each that is an
    /// address behind a call is taken for a caller. Some may be left from earlier calls.
    pub fn backtrace(&self, cpu: usize, rip: u64, words: impl Iterator<Item = u64>) -> String {
        let mut text = format!("  CPU {cpu}  {}\n", self.name(rip));
        let calls = words.filter(|&word| self.read().is_some_and(|read| read.is_behind_call(word)));
        for caller in calls.take(CALLERS) {
            let _ = writeln!(text, "    by   {}", self.name(caller - 1));
        }
        text
    }
}

impl Read {
    /// `None`: it is no kernel's file, or one without code.
    fn of(elf: &Path) -> Option<Self> {
        let bytes = std::fs::read(elf).ok()?;
        let file = object::File::parse(&*bytes).ok()?;
        let text = file.section_by_name(".text")?;
        let start = text.address();
        let code = text.data().ok()?.to_vec();
        let dwarf = Dwarf::load(|section| {
            let data = file.section_by_name(section.name()).and_then(|section| section.data().ok());
            Ok::<_, Error>(EndianRcSlice::new(Rc::from(data.unwrap_or_default()), LittleEndian))
        });
        let lines = Context::from_dwarf(dwarf.ok()?).ok()?;
        let named = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
        let named = named.filter_map(|symbol| Some(Named(symbol.address(), symbol.name().ok()?.to_owned())));
        let functions = SymbolMap::new(named.collect());
        Some(Self { lines, functions, range: start..start + code.len() as u64, code })
    }

    /// Whether a call ends where an address begins: of an address in the instruction, or in a register or memory.
    fn is_behind_call(&self, address: u64) -> bool {
        if !self.range.contains(&address) {
            return false;
        }
        let before = &self.code[..(address - self.range.start) as usize];
        let is_at = |back: usize, first: u8, second: Option<u8>| {
            let Some(start) = before.len().checked_sub(back) else { return false };
            // ModRM with 2 in its middle is CALL.
            before[start] == first && second.is_none_or(|kind| before[start + 1] >> 3 & 7 == kind)
        };
        is_at(5, 0xe8, None) || [2, 3, 4, 6, 7].into_iter().any(|back| is_at(back, 0xff, Some(2)))
    }

    fn place(&self, address: u64) -> Option<Place> {
        if !self.range.contains(&address) {
            return None;
        }
        let mut frames = self.lines.find_frames(address).skip_all_loads().ok()?;
        let mut place = None;
        // Inlined ones come first, and what they are inlined in last.
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.and_then(|name| Some(plain(&name.demangle().ok()?)));
            let at = frame.location.and_then(|at| Some((at.file?, at.line.unwrap_or(0))));
            let is_ours = at.is_some_and(|(file, _)| Path::new(file).starts_with(places::root()));
            let place = place.get_or_insert_with(Place::default);
            if place.line.is_empty() || is_ours && !place.is_ours {
                let line = at.map_or_else(String::new, |(file, line)| format!("{}:{line}", short(file)));
                (place.function, place.line, place.is_ours) = (String::new(), line, is_ours);
            }
            if let Some(name) = name {
                if place.function.is_empty() {
                    place.function.clone_from(&name);
                }
                place.outer = name;
            }
        }
        let mut place = place?;
        if let Some(symbol) = self.functions.get(address) {
            place.outer = plain(&format!("{:#}", rustc_demangle::demangle(&symbol.1)));
        }
        if place.function.is_empty() {
            place.function.clone_from(&place.outer);
        }
        Some(place)
    }
}

/// A file's path without where the workspace, or the package it belongs to, lies on this computer.
fn short(file: &str) -> String {
    if let Ok(inside) = Path::new(file).strip_prefix(places::root()) {
        return inside.display().to_string();
    }
    let after = |mark| file.split_once(mark).and_then(|(_, rest)| rest.split_once('/')).map(|(_, rest)| rest);
    after("/registry/src/")
        .or_else(|| after("/rustc/"))
        .or_else(|| after("/lib/rustlib/src/"))
        .unwrap_or(file)
        .into()
}

/// A demangled name without the hash that the older mangling ends in, and without the types it is made for.
fn plain(name: &str) -> String {
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    };
    let mut plain = String::new();
    // Where the brackets that are open began, if what is in them stays: that is what a path begins with.
    let mut open = Vec::new();
    let mut before = ' ';
    for letter in name.chars() {
        let stays = open.iter().all(Option::is_some);
        match letter {
            '<' if before.is_alphanumeric() || before == '_' || before == ':' => {
                plain.truncate(plain.trim_end_matches(':').len());
                open.push(None);
            }
            '<' => open.push(Some(plain.len())),
            '>' if before != '-' => {
                if let Some(Some(start)) = open.pop()
                    && plain[start..].contains(" as ")
                {
                    plain.insert(start, '<');
                    plain.push('>');
                }
            }
            _ if stays => plain.push(letter),
            _ => {}
        }
        before = letter;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_those_of_the_source() {
        assert_eq!(plain("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(plain("a::hold"), "a::hold");
        assert_eq!((plain("fold::<a::B<C>, D>"), plain("vfree<M>")), ("fold".into(), "vfree".into()));
        assert_eq!(plain("<a::B<X, Y> as c::D<E>>::e"), "<a::B as c::D>::e");
        assert_eq!(plain("<a::B<c::D>>::e::<fn(u8) -> u8>::{closure#0}"), "a::B::e::{closure#0}");
        assert_eq!(short("/h/.cargo/registry/src/index-1/x86_64-0.15.5/src/a.rs"), "x86_64-0.15.5/src/a.rs");
        assert_eq!(short("/rustc/e50a/library/core/src/a.rs"), "library/core/src/a.rs");
        assert_eq!(short(&places::root().join("kernel/src/lib.rs").to_string_lossy()), "kernel/src/lib.rs");
    }

    #[test]
    fn of_what_is_no_kernel_nothing_is_known() {
        let symbols = Symbols::of(Some("/nosuch".into()));
        assert_eq!(symbols.name(0xffff_ffff_8000_0005), "0xffffffff80000005");
        assert_eq!(symbols.backtrace(1, 16, [0xffff_ffff_8000_0000].into_iter()), "  CPU 1  0x10\n");
    }
}
