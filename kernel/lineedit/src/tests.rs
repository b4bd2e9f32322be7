//! What a person sees: keys are typed, and the screen of a terminal, played by the crate `vt100`, is looked at.

extern crate std;

use crate::{COLUMNS, Editor, HISTORY, LONGEST};
use core::num::NonZero;
use std::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};

const ROWS: NonZero<u16> = NonZero::new(24).unwrap();

const PROMPT: &str = "> ";
const COMMANDS: [&str; 6] = ["floor", "help", "history", "hold", "nr=", "test_vmalloc"];

const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";
const LEFT: &str = "\x1b[D";

/// A terminal, the editor behind it, and the lines that were entered.
struct Console {
    editor: Editor,
    screen: vt100::Parser,
    /// All that the editor wrote.
    written: String,
    lines: Vec<String>,
}

impl Console {
    fn new() -> Self {
        let mut console = Self {
            editor: Editor::new(PROMPT),
            screen: vt100::Parser::new(ROWS, NonZero::new(COLUMNS as u16).unwrap(), 0),
            written: String::new(),
            lines: Vec::new(),
        };
        let mut out = String::new();
        console.editor.start(&mut out).unwrap();
        console.show(&out);
        console
    }

    /// As the host program does for a terminal in raw mode.
    fn show(&mut self, text: &str) {
        self.written += text;
        self.screen.process(text.replace('\n', "\r\n").as_bytes());
    }

    fn type_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let mut out = String::new();
            let complete = |before: &str, word: &str| {
                let first = before.rsplit(';').next().unwrap().trim().is_empty();
                COMMANDS.into_iter().filter(|name| first && name.starts_with(word)).collect()
            };
            let line = self.editor.feed(byte, &complete, &mut out).unwrap();
            if let Some(line) = line {
                // The command's output.
                out += "ran\n";
                self.lines.push(line);
                self.editor.start(&mut out).unwrap();
            }
            self.show(&out);
        }
    }

    fn type_keys(&mut self, keys: &str) -> &mut Self {
        self.type_bytes(keys.as_bytes());
        self
    }

    /// The rows that are not empty, without trailing spaces, and the cursor: row and column.
    fn rows(&self) -> (Vec<String>, (u16, u16)) {
        let mut rows: Vec<_> =
            self.screen.screen().rows(0, COLUMNS as u16).map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        (rows, self.screen.screen().cursor_position())
    }

    #[track_caller]
    fn assert(&self, rows: &[&str], cursor: (u16, u16)) {
        assert_eq!(self.rows(), (rows.iter().map(ToString::to_string).collect(), cursor));
    }
}

/// The line that these keys make.
fn entered(keys: &str) -> String {
    let mut console = Console::new();
    console.type_keys(keys).type_keys("\r");
    assert_eq!(console.lines.len(), 1, "{keys:?}");
    console.lines.remove(0)
}

/// Seen failing, with the prompts down the screen in a diagonal, when carriage returns are left out of what the editor
/// writes.
#[test]
fn lines_before_come_back_in_the_same_row() {
    let mut console = Console::new();
    console.type_keys("first\rsecond one\rthi");
    let above = ["> first", "ran", "> second one", "ran"];
    let mut shows = |keys: &str, line: &str| {
        console.type_keys(keys);
        let last = format!("> {line}");
        let rows = [&above[..], &[last.trim_end()]].concat();
        console.assert(&rows, (4, last.len() as u16));
    };
    shows("", "thi");
    shows(UP, "second one");
    shows(UP, "first");
    shows(UP, "first");
    shows(DOWN, "second one");
    shows(DOWN, "thi");
    shows(DOWN, "thi");
    shows("\x10", "second one");
    shows("\x0e", "thi");
    shows("rd", "third");
}

#[test]
fn keys_edit_in_the_middle() {
    let mut console = Console::new();
    console.type_keys("abcd").type_keys(LEFT).type_keys(LEFT).assert(&["> abcd"], (0, 4));
    console.type_keys("X").assert(&["> abXcd"], (0, 5));
    console.type_keys("\x7f").assert(&["> abcd"], (0, 4));
    console.type_keys("\x1b[3~").assert(&["> abd"], (0, 4));
    console.type_keys(RIGHT).type_keys(RIGHT).assert(&["> abd"], (0, 5));
    console.type_keys("\x08").assert(&["> ab"], (0, 4));
    console.type_keys("\x1b[H").assert(&["> ab"], (0, 2));
    console.type_keys("\x1b[F").assert(&["> ab"], (0, 4));
    console.type_keys("\r").assert(&["> ab", "ran", ">"], (2, 2));
}

/// Each kind of sequence that terminals send for a key, and the control characters that do the same.
#[test]
fn each_key_does_what_it_says() {
    for home in ["\x01", "\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"] {
        assert_eq!(entered(&format!("bc{home}a")), "abc", "{home:?}");
        for end in ["\x05", "\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"] {
            assert_eq!(entered(&format!("ab{home}{end}c")), "abc", "{end:?}");
        }
    }
    for left in ["\x02", LEFT, "\x1bOD"] {
        assert_eq!(entered(&format!("ac{left}b")), "abc", "{left:?}");
        for right in ["\x06", RIGHT, "\x1bOC"] {
            assert_eq!(entered(&format!("ab{left}{right}c")), "abc", "{right:?}");
        }
    }
    for delete in ["\x04", "\x1b[3~"] {
        assert_eq!(entered(&format!("abc\x01{delete}")), "bc", "{delete:?}");
    }
    for word_left in ["\x1bb", "\x1b[1;5D", "\x1b[1;3D"] {
        assert_eq!(entered(&format!("one two  {word_left}x")), "one xtwo  ", "{word_left:?}");
        for word_right in ["\x1bf", "\x1b[1;5C", "\x1b[1;3C"] {
            assert_eq!(entered(&format!("one two\x01{word_right}x")), "onex two", "{word_right:?}");
            let behind = format!("one two six\x01{word_right}{word_right}x");
            assert_eq!(entered(&behind), "one twox six", "{word_right:?}");
        }
    }
    assert_eq!(entered("one two three\x17x"), "one two x");
    assert_eq!(entered("one two\x1b\x7fx"), "one x");
    assert_eq!(entered("one two\x02\x02\x15"), "wo");
    assert_eq!(entered("one two\x02\x02\x0b"), "one t");
    assert_eq!(entered("one two\x17\x01\x19 "), "two one ");
}

#[test]
fn ctrl_c_gives_the_line_up() {
    let mut console = Console::new();
    console.type_keys("mistake\x03").assert(&["> mistake^C", ">"], (1, 2));
    console.type_keys(UP).assert(&["> mistake^C", ">"], (1, 2));
    console.type_keys("right\r");
    assert_eq!(console.lines, ["right"]);
    // The newest line is the next one again.
    console.type_keys("more\r").type_keys(UP).type_keys(UP).type_keys("\x03").type_keys(UP).type_keys("\r");
    assert_eq!(console.lines, ["right", "more", "more"]);
}

#[test]
fn tab_completes_commands() {
    let mut console = Console::new();
    console.type_keys("t\t").assert(&["> test_vmalloc"], (0, 15));
    console.type_keys("x\t").assert(&["> test_vmalloc x"], (0, 16));
    assert!(console.written.ends_with('\x07'), "nothing begins so");
    // A value follows at once, and where there is a space none is added.
    assert_eq!(entered("n\t4"), "nr=4");
    assert_eq!(entered(" now\x01he\t."), "help. now");
}

#[test]
fn words_begin_alike_as_far_as_each_letter_is_the_same() {
    for (words, common) in
        [(&["flow", "floor", "flood"][..], Some("flo")), (&["a", "b"], Some("")), (&["é1", "é2"], Some("é"))]
    {
        assert_eq!(super::common_start(words), common);
    }
    assert_eq!(super::common_start(&[]), None);
}

#[test]
fn a_list_fills_the_rows() {
    let mut out = String::new();
    super::list(&["abc"; 35], &mut out).unwrap();
    let lengths: Vec<usize> = out.lines().skip(1).map(str::len).collect();
    assert_eq!(lengths, [15 * 5 + 3, 15 * 5 + 3, 2 * 5 + 3], "columns of five");
}

#[test]
fn keys_without_an_effect_ring() {
    for keys in ["\x19", "\x7f", "\x15", LEFT, UP, "\x1bf"] {
        let mut console = Console::new();
        console.type_keys(keys);
        assert!(console.written.ends_with('\x07'), "{keys:?}");
    }
}

#[test]
fn tab_lists_what_a_word_may_become() {
    let listed = format!("{:9}{:9}hold", "help", "history");
    let mut console = Console::new();
    console.type_keys("h\t").assert(&["> h", &listed, "> h"], (2, 3));
    console.type_keys("i\t").assert(&["> h", &listed, "> history"], (2, 10));
    // In the middle of a line, behind a semicolon; what all have in common is inserted.
    console.type_keys("\x15x; f\x01").type_keys("\x05\t").assert(&["> h", &listed, "> x; floor"], (2, 11));
    assert_eq!(entered("flo\t1\x01hel\t"), "help floor 1");
    assert_eq!(entered("\x09"), "");
}

/// Seen failing, with the screen full of broken rows, when a line is not scrolled.
#[test]
fn a_line_longer_than_the_row_scrolls_in_it() {
    let mut console = Console::new();
    let line: String = (0..20).map(|number| format!("word{number:02} ")).collect();
    for (index, key) in line.char_indices() {
        console.type_keys(&key.to_string());
        let (rows, cursor) = console.rows();
        assert_eq!(rows.len(), 1, "after {index}: {rows:?}");
        assert_eq!(cursor.0, 0);
    }
    let (rows, (_, column)) = console.rows();
    let shown = rows[0].strip_prefix(PROMPT).unwrap().to_owned();
    assert!(line.trim_end().ends_with(&shown) && column as usize == PROMPT.len() + shown.len() + 1);
    console.type_keys("\x01");
    let (rows, cursor) = console.rows();
    assert_eq!((rows.len(), cursor), (1, (0, 2)));
    assert!(line.starts_with(rows[0].strip_prefix(PROMPT).unwrap()));
    for _ in 0..line.len() {
        console.type_keys(RIGHT);
        let (rows, (row, column)) = console.rows();
        assert!(rows.len() == 1 && row == 0 && (2..COLUMNS as u16).contains(&column));
    }
    console.type_keys("end\r");
    assert_eq!(console.lines, [line + "end"]);
}

/// Seen failing with a line that is scrolled one column late, or at half of its length; with the space of the prompt erased;
/// and with a line that stays scrolled while the cursor goes back through it.
#[test]
fn a_line_is_scrolled_where_the_cursor_leaves_it() {
    let room = COLUMNS - PROMPT.len() - 1;
    let letters: String = (b'a'..=b'z').cycle().take(room + 1).map(char::from).collect();
    let mut console = Console::new();
    let shown = |text: &str| format!("> {text}");
    console.type_keys(&letters[..room]).assert(&[&shown(&letters[..room])], (0, COLUMNS as u16 - 1));
    // Half of the room is left of the cursor, then.
    let scrolled = room + 1 - room / 2;
    let column = |at: usize| (PROMPT.len() + at - scrolled) as u16;
    console.type_keys(&letters[room..]).assert(&[&shown(&letters[scrolled..])], (0, column(room + 1)));
    let mut typed = console.written.clone();
    for end in (scrolled + 1..=room).rev() {
        console.type_keys("\x7f").assert(&[&shown(&letters[scrolled..end])], (0, column(end)));
        typed += "\x08 \x08";
    }
    assert_eq!(console.written, typed, "what is at the end is erased where it is");
    // Nothing of the line would be seen.
    console.type_keys("\x7f\x7f");
    let end = scrolled - 1;
    let (rows, cursor) = console.rows();
    let from = end - (rows[0].len() - PROMPT.len());
    assert!(from < end && rows == [shown(&letters[from..end])], "{rows:?}");
    assert_eq!(cursor, (0, rows[0].len() as u16));
    // To the left a part is shown before the cursor comes to it.
    console.type_keys(&letters[end..]);
    let mut before = None;
    for at in (0..=room).rev() {
        console.type_keys(LEFT);
        let (rows, (_, column)) = console.rows();
        let from = at - (column as usize - PROMPT.len());
        assert!(before.is_none_or(|before| from == before || at == before), "{at}: it need not move");
        before = Some(from);
        assert!(letters[from..].starts_with(&rows[0][PROMPT.len()..]), "{at}: {rows:?}");
        assert!(column as usize > PROMPT.len() || at == 0, "{at}: what is left of it is not seen");
    }
}

#[test]
fn a_line_does_not_grow_beyond_its_limit() {
    let mut console = Console::new();
    console.type_keys(&"x".repeat(LONGEST + 9)).type_keys("\r");
    assert_eq!(console.lines, ["x".repeat(LONGEST)]);
}

#[test]
fn the_history_forgets_the_oldest_and_keeps_no_line_twice() {
    let mut console = Console::new();
    for number in 0..HISTORY + 5 {
        console.type_keys(&format!("line {number}\rline {number}\r \r"));
    }
    for _ in 0..HISTORY + 5 {
        console.type_keys(UP);
    }
    console.type_keys("\r");
    assert_eq!(console.lines.last().unwrap(), "line 5");
}

/// A pipe has no use for cursor movements: what it sends is echoed, and nothing else.
#[test]
fn what_comes_from_a_pipe_is_echoed_as_it_is() {
    for end in ["\n", "\r\n", "\r"] {
        let mut console = Console::new();
        console.type_keys(&format!("help{end}meminfo; cpus{end}"));
        assert_eq!(console.lines, ["help", "meminfo; cpus"]);
        assert_eq!(console.written, "> help\nran\n> meminfo; cpus\nran\n> ");
    }
}

#[test]
fn keys_that_mean_nothing_are_swallowed_whole() {
    // Function keys of several terminals, Insert, page keys, Shift-Tab, mouse reports, Alt with a letter.
    for keys in [
        "\x1b[15~",
        "\x1bOP",
        "\x1b[[A",
        "\x1b[2~",
        "\x1b[5~",
        "\x1b[Z",
        "\x1b[<0;12;3M",
        "\x1bx",
        "\x1b ",
        "\x1d",
    ] {
        assert_eq!(entered(&format!("a{keys}b")), "ab", "{keys:?}");
    }
    // A sequence that is broken off by Enter.
    assert_eq!(entered("a\x1b[1"), "a");
}

#[test]
fn characters_of_several_bytes_are_one() {
    assert_eq!(entered("aé€😀\x02\x7fb"), "aéb😀");
    let mut console = Console::new();
    console.type_bytes(b"a\xc3x\xffy\xe2\x82z\r");
    assert_eq!(console.lines, ["axyz"], "bytes that are no character are left out");
}
