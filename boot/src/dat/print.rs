//! How an event's fields are printed, and the way back: their values, from what was printed.

use std::iter;

/// A part of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// This text.
    Literal(&'a str),
    /// The value of the next field.
    Field(Type),
}

/// A field's type, by how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `%lu`
    Long,
    /// `%lx`
    Address,
    /// `%ld`
    SignedLong,
    /// `%u`
    Int,
    /// `%d`
    SignedInt,
    /// `%s`
    Text,
}

/// What a field holds: a number's lowest bytes, or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// As many of its bytes count as the type has.
    Number(u64),
    /// Without an end.
    Text(&'a str),
}

const TYPES: [(&str, Type); 6] = [
    ("%lu", Type::Long),
    ("%lx", Type::Address),
    ("%ld", Type::SignedLong),
    ("%u", Type::Int),
    ("%d", Type::SignedInt),
    ("%s", Type::Text),
];

/// Returns the parts of what is printed, in their order.
pub fn pieces(print: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = print;
    iter::from_fn(move || {
        let of = |&(name, kind): &(&str, Type)| Some((rest.strip_prefix(name)?, kind));
        if let Some((behind, kind)) = TYPES.iter().find_map(of) {
            rest = behind;
            return Some(Piece::Field(kind));
        }
        let end = rest.find('%').unwrap_or(rest.len());
        let (literal, behind) = rest.split_at(end);
        rest = behind;
        (!literal.is_empty()).then_some(Piece::Literal(literal))
    })
}

/// Returns the values of the fields of `text`, which was printed so; `None` if it was not.
pub fn scan<'a>(print: &str, text: &'a str) -> Option<Vec<Value<'a>>> {
    let (mut rest, mut values) = (text, Vec::new());
    let mut pieces = pieces(print).peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Literal(literal) => rest = rest.strip_prefix(literal)?,
            Piece::Field(kind) => {
                let end = match pieces.peek() {
                    Some(Piece::Literal(literal)) => rest.find(literal)?,
                    _ => rest.len(),
                };
                let (value, behind) = rest.split_at(end);
                rest = behind;
                values.push(kind.read(value)?);
            }
        }
    }
    rest.is_empty().then_some(values)
}

impl Type {
    /// Its name in C.
    pub fn name(self) -> &'static str {
        match self {
            Self::Long | Self::Address => "unsigned long",
            Self::SignedLong => "long",
            Self::Int => "unsigned int",
            Self::SignedInt => "int",
            Self::Text => "__data_loc char[]",
        }
    }

    /// Bytes of a field, and what its place is a multiple of.
    pub fn size(self) -> usize {
        match self {
            Self::Long | Self::Address | Self::SignedLong => 8,
            Self::Int | Self::SignedInt | Self::Text => 4,
        }
    }

    /// Whether its numbers may be negative, as Linux has it.
    pub fn is_signed(self) -> bool {
        matches!(self, Self::SignedLong | Self::SignedInt | Self::Text)
    }

    fn read(self, text: &str) -> Option<Value<'_>> {
        let digits = text.strip_prefix('-').filter(|_| self.is_signed()).unwrap_or(text);
        // The numbers' own parsers allow a sign.
        if self != Self::Text && !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        Some(Value::Number(match self {
            Self::Text => return Some(Value::Text(text)),
            Self::Long => text.parse().ok()?,
            Self::Address => u64::from_str_radix(text, 16).ok()?,
            Self::SignedLong => text.parse::<i64>().ok()?.cast_unsigned(),
            Self::Int => text.parse::<u32>().ok()?.into(),
            Self::SignedInt => text.parse::<i32>().ok()?.cast_unsigned().into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen failing with a literal looked for anywhere, and with what is left over allowed.
    #[test]
    fn values_come_back() {
        let print = "(%s) a=%lu b=0x%lx c=%ld d=%u e=%d";
        let text = "(x.rs:1:2 <- y) a=18446744073709551615 b=0xff c=-2 d=7 e=-1";
        let values = [
            Value::Text("x.rs:1:2 <- y"),
            Value::Number(u64::MAX),
            Value::Number(255),
            Value::Number(-2_i64 as u64),
            Value::Number(7),
            Value::Number(u32::MAX.into()),
        ];
        assert_eq!(scan(print, text).as_deref(), Some(&values[..]));
        assert_eq!(scan("%s", "any % text").as_deref(), Some(&[Value::Text("any % text")][..]));
        for wrong in [
            "a=1 b",
            "a=1 b=2 ",
            " a=1 b=2",
            "a=+1 b=2",
            "a= b=2",
            "a=1 b=4294967296",
            "a=1 b=-2",
            "a=f b=2",
            "",
        ] {
            assert_eq!(scan("a=%lu b=%u", wrong), None, "{wrong}");
        }
        assert_eq!(scan("(%s) all", "(x) all of it"), None);
    }
}
