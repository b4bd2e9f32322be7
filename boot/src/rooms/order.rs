//! The declared order of a crate's rooms: its file `ROOMS`.
//!
//! One line a room, top to bottom: its name, and one sentence that says what it is for. What follows a `#` at the
//! beginning of a line is a remark.

use crate::status::{Error, Result};

/// A line of `ROOMS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The top-level module.
    pub name: String,
    /// What it is for.
    pub sentence: String,
}

/// Reads the text of a `ROOMS` file, which messages call `file`.
///
/// # Errors
/// If a line has no sentence, or a room has two lines.
pub fn parse(file: &str, text: &str) -> Result<Vec<Room>> {
    let mut rooms: Vec<Room> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |what: String| Error::failed(format!("{file}:{}: {what}", number + 1));
        let Some((name, sentence)) = line.split_once(char::is_whitespace) else {
            return Err(at(format!("{line} has no sentence that says what it is for")));
        };
        if rooms.iter().any(|room| room.name == name) {
            return Err(at(format!("{name} is there twice")));
        }
        rooms.push(Room { name: name.into(), sentence: sentence.trim().into() });
    }
    Ok(rooms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_read_from_top_to_bottom() {
        let rooms = parse("ROOMS", "# the map\n\nattic  Old things.\ncellar Wine.\n").unwrap();
        let room = |name: &str, sentence: &str| Room { name: name.into(), sentence: sentence.into() };
        assert_eq!(rooms, [room("attic", "Old things."), room("cellar", "Wine.")]);
    }

    #[test]
    fn a_room_without_a_sentence_or_with_two_is_refused() {
        let message = |text| parse("x/ROOMS", text).unwrap_err().message;
        assert_eq!(message("#\nattic\n"), "x/ROOMS:2: attic has no sentence that says what it is for");
        assert_eq!(message("attic a\nattic b"), "x/ROOMS:2: attic is there twice");
    }
}
