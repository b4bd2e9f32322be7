//! What an event looks like in the ring buffer: the text that tells of it, as in tracefs' files `format`, and its bytes.

use super::known::Known;
use super::print::{self, Piece, Type, Value};
use super::ring::MOST;

/// An event's fields, and their places.
#[derive(Debug)]
pub struct Format {
    /// The system that it is of.
    pub system: &'static str,
    /// The number by which its records name it.
    pub id: u16,
    name: String,
    print: &'static str,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: Type,
    offset: usize,
}

/// Bytes of the fields that all events have.
const COMMON: usize = 8;

/// What stands at the end of text that was cut.
const CUT: &str = "...";

impl Format {
    /// Puts the fields of an event in their places.
    pub fn new(known: &Known, name: &str, id: u16) -> Self {
        let kinds = print::pieces(known.print).filter_map(|piece| match piece {
            Piece::Field(kind) => Some(kind),
            Piece::Literal(_) => None,
        });
        let mut end = COMMON;
        let fields = known.fields.iter().zip(kinds).map(|(&name, kind)| {
            let offset = end.next_multiple_of(kind.size());
            end = offset + kind.size();
            Field { name, kind, offset }
        });
        let fields = fields.collect();
        Self { system: known.system, id, name: name.to_owned(), print: known.print, fields }
    }

    /// Returns the text that tells of it.
    pub fn text(&self) -> String {
        let line = |name: &str, offset: usize, size: usize, signed: bool| {
            format!("\tfield:{name};\toffset:{offset};\tsize:{size};\tsigned:{};\n", u8::from(signed))
        };
        let mut text = format!("name: {}\nID: {}\nformat:\n", self.name, self.id);
        text += &line("unsigned short common_type", 0, 2, false);
        text += &line("unsigned char common_flags", 2, 1, false);
        text += &line("unsigned char common_preempt_count", 3, 1, false);
        text += &line("int common_pid", 4, 4, true);
        text += "\n";
        let mut arguments = String::new();
        for Field { name, kind, offset } in &self.fields {
            text += &line(&format!("{} {name}", kind.name()), *offset, kind.size(), kind.is_signed());
            arguments += &match kind {
                Type::Text => format!(", __get_str({name})"),
                _ => format!(", REC->{name}"),
            };
        }
        text + &format!("\nprint fmt: \"{}\"{arguments}\n", self.print)
    }

    /// Returns the bytes of an event of the task `pid`, and whether text was cut so that they are at most [`MOST`].
    pub fn record(&self, pid: u32, values: &[Value<'_>]) -> (Vec<u8>, bool) {
        let end = self.fields.last().map_or(COMMON, |field| field.offset + field.kind.size());
        let mut bytes = vec![0; end];
        bytes[0..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[4..8].copy_from_slice(&pid.to_le_bytes());
        let mut is_cut = false;
        for (Field { kind, offset, .. }, value) in self.fields.iter().zip(values) {
            let number = match value {
                Value::Number(number) => *number,
                Value::Text(text) => {
                    let (start, room) = (bytes.len(), MOST - bytes.len() - 1);
                    if text.len() <= room {
                        bytes.extend_from_slice(text.as_bytes());
                    } else {
                        let kept = &text[..text.floor_char_boundary(room.saturating_sub(CUT.len()))];
                        bytes.extend_from_slice(kept.as_bytes());
                        bytes.extend_from_slice(CUT.as_bytes());
                        is_cut = true;
                    }
                    bytes.push(0);
                    (start | (bytes.len() - start) << 16) as u64
                }
            };
            bytes[*offset..][..kind.size()].copy_from_slice(&number.to_le_bytes()[..kind.size()]);
        }
        (bytes, is_cut)
    }
}
