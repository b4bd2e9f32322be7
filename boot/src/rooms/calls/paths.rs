//! The paths in a line of the compiler's intermediate representation, `<P as platform::Platform>::pin` among them.

/// A part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A name.
    Name(&'a str),
    /// What stands in angle brackets.
    Angle(&'a str),
    /// What stands in braces: a closure, say.
    Brace,
}

/// A path.
pub type Path<'a> = Vec<Segment<'a>>;

/// All paths in `text`, and those in their angle brackets; but not what stands in quotes.
#[must_use]
pub fn all(text: &str) -> Vec<Path<'_>> {
    let mut paths = Vec::new();
    scan(text, &mut paths);
    paths
}

/// The names of a path.
pub fn names<'a>(path: &[Segment<'a>]) -> Vec<&'a str> {
    let name = |segment: &Segment<'a>| match segment {
        Segment::Name(name) => Some(*name),
        _ => None,
    };
    path.iter().filter_map(name).collect()
}

fn scan<'a>(text: &'a str, paths: &mut Vec<Path<'a>>) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = after_string(&rest[1..]);
        } else if rest.starts_with("{closure@") {
            rest = rest.split_once('}').map_or("", |(_, rest)| rest);
        } else if is_name(first) || first == '<' {
            let mut path = Vec::new();
            loop {
                rest = segment(rest, &mut path, paths);
                match rest.strip_prefix("::") {
                    Some(next) if next.starts_with(|c| is_name(c) || c == '<' || c == '{') => rest = next,
                    _ => break,
                }
            }
            paths.push(path);
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
}

/// Takes one segment of a path and returns what follows.
fn segment<'a>(text: &'a str, path: &mut Path<'a>, paths: &mut Vec<Path<'a>>) -> &'a str {
    let (open, close) = match text.as_bytes().first() {
        Some(b'<') => ('<', '>'),
        Some(b'{') => ('{', '}'),
        _ => {
            let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
            path.push(Segment::Name(&text[..end]));
            return &text[end..];
        }
    };
    let end = closing(text, open, close);
    let inner = &text[1..end];
    match open {
        '<' => {
            path.push(Segment::Angle(inner));
            scan(inner, paths);
        }
        _ => path.push(Segment::Brace),
    }
    text.get(end + 1..).unwrap_or("")
}

/// Where the bracket is closed that `text` begins with.
fn closing(text: &str, open: char, close: char) -> usize {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close && before != '-' {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
        before = c;
    }
    text.len()
}

/// What follows a string, whose opening quote has been taken.
fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Splits `T as Trait`, the inside of a path's first angle brackets.
#[must_use]
pub fn cast(inner: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in inner.char_indices() {
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' if before == '-' => {}
            '>' | ')' | ']' | '}' => depth -= 1,
            ' ' if depth == 0 && inner[at..].starts_with(" as ") => {
                return Some((&inner[..at], &inner[at + 4..]));
            }
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        all(text).iter().map(|path| names(path).join("::")).filter(|path| !path.is_empty()).collect()
    }

    #[test]
    fn paths_are_found_in_calls_and_in_their_brackets() {
        let line = "_3 = blocks::<impl Vmalloc<P>>::block::<fn(u8) -> a::B {c::d}>(move _4, const E::F) -> [return: bb2]";
        let paths = found(line);
        for path in ["blocks::block", "Vmalloc", "P", "a::B", "c::d", "E::F"] {
            assert!(paths.iter().any(|found| found == path), "{path} in {paths:?}");
        }
    }

    #[test]
    fn strings_and_closures_hold_no_paths() {
        let line = r#"_1 = x::y(const "say \" a::b", {closure@src/c.rs:1:2: 3:4 d::e}, f::g)"#;
        assert_eq!(found(line), ["_1", "x::y", "const", "f::g"]);
    }

    #[test]
    fn a_cast_is_split_at_its_own_as() {
        assert_eq!(cast("<P as a::B>::Pin as c::D<E>"), Some(("<P as a::B>::Pin", "c::D<E>")));
        assert_eq!(cast("impl Vmalloc<P>"), None);
        assert_eq!(cast("fn() -> a::B as c::D"), Some(("fn() -> a::B", "c::D")));
    }
}
