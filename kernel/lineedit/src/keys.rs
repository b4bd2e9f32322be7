//! Bytes as keys: control characters, UTF-8, and the sequences that terminals send for the other keys.
//!
//! Source: ECMA-48, section 5.4 (control sequences); xterm's control sequences, "PC-Style Function Keys".

/// A key, by what it does to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Character(char),
    Enter,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Earlier,
    Later,
    DeleteWord,
    DeleteToStart,
    DeleteToEnd,
    PutBack,
    GiveUp,
    ClearScreen,
}

/// What the bytes so far are the beginning of.
#[derive(Clone, Copy, Debug)]
enum State {
    Nothing,
    /// A carriage return was a key: a newline that follows is none.
    Return,
    Escape,
    /// `ESC O`.
    Single,
    /// `ESC [`: the numbers so far, and how many of them are complete.
    Control {
        numbers: [u16; 2],
        complete: usize,
    },
    /// `ESC [ [`, which the Linux console sends for function keys.
    Function,
    /// A character of several bytes.
    Utf8 {
        bytes: [u8; 4],
        length: usize,
    },
}

/// Makes keys of bytes.
#[derive(Debug)]
pub(crate) struct Keys(State);

impl Keys {
    pub const fn new() -> Self {
        Self(State::Nothing)
    }

    /// The key that ends with this byte; `None`: none does, or one that means nothing.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        let state = core::mem::replace(&mut self.0, State::Nothing);
        match state {
            State::Return if byte == b'\n' => None,
            State::Nothing | State::Return => self.begin(byte),
            // A control character in a sequence ends it, and means what it always does.
            _ if byte < b' ' => self.begin(byte),
            State::Escape => match byte {
                b'[' => self.go_on(State::Control { numbers: [0; 2], complete: 0 }),
                b'O' => self.go_on(State::Single),
                b'b' => Some(Key::WordLeft),
                b'f' => Some(Key::WordRight),
                0x7f => Some(Key::DeleteWord),
                _ => None,
            },
            State::Single => named(byte, false),
            State::Function => None,
            State::Control { numbers, complete } => self.control(byte, numbers, complete),
            State::Utf8 { bytes, length } => self.utf8(byte, bytes, length),
        }
    }

    fn go_on(&mut self, state: State) -> Option<Key> {
        self.0 = state;
        None
    }

    /// The first byte of a key.
    fn begin(&mut self, byte: u8) -> Option<Key> {
        const fn ctrl(letter: u8) -> u8 {
            letter & 0x1f
        }
        const A: u8 = ctrl(b'A');
        const B: u8 = ctrl(b'B');
        const C: u8 = ctrl(b'C');
        const D: u8 = ctrl(b'D');
        const E: u8 = ctrl(b'E');
        const F: u8 = ctrl(b'F');
        const H: u8 = ctrl(b'H');
        const K: u8 = ctrl(b'K');
        const L: u8 = ctrl(b'L');
        const N: u8 = ctrl(b'N');
        const P: u8 = ctrl(b'P');
        const U: u8 = ctrl(b'U');
        const W: u8 = ctrl(b'W');
        const Y: u8 = ctrl(b'Y');
        match byte {
            b'\r' => {
                self.0 = State::Return;
                Some(Key::Enter)
            }
            b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            0x1b => self.go_on(State::Escape),
            0x7f | H => Some(Key::Backspace),
            A => Some(Key::Home),
            B => Some(Key::Left),
            C => Some(Key::GiveUp),
            D => Some(Key::Delete),
            E => Some(Key::End),
            F => Some(Key::Right),
            K => Some(Key::DeleteToEnd),
            L => Some(Key::ClearScreen),
            N => Some(Key::Later),
            P => Some(Key::Earlier),
            U => Some(Key::DeleteToStart),
            W => Some(Key::DeleteWord),
            Y => Some(Key::PutBack),
            b' '..0x7f => Some(Key::Character(byte.into())),
            0x80.. => self.utf8(byte, [0; 4], 0),
            _ => None,
        }
    }

    /// A byte behind `ESC [`.
    fn control(&mut self, byte: u8, mut numbers: [u16; 2], complete: usize) -> Option<Key> {
        match byte {
            b'0'..=b'9' => {
                if let Some(number) = numbers.get_mut(complete) {
                    *number = number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
                self.go_on(State::Control { numbers, complete })
            }
            b';' => self.go_on(State::Control { numbers, complete: complete + 1 }),
            b'[' => self.go_on(State::Function),
            // Parameters and intermediate bytes that no key here has.
            b' '..b'@' => self.go_on(State::Control { numbers, complete }),
            b'~' => match numbers[0] {
                1 | 7 => Some(Key::Home),
                3 => Some(Key::Delete),
                4 | 8 => Some(Key::End),
                _ => None,
            },
            // The second number says what is held down: 3 is Alt, 5 is Ctrl.
            _ => named(byte, matches!(numbers[1], 3 | 5)),
        }
    }

    fn utf8(&mut self, byte: u8, mut bytes: [u8; 4], length: usize) -> Option<Key> {
        if byte < 0x80 {
            // What came before was cut off.
            return self.begin(byte);
        }
        *bytes.get_mut(length)? = byte;
        let length = length + 1;
        match core::str::from_utf8(&bytes[..length]) {
            Ok(text) => text.chars().next().filter(|character| !character.is_control()).map(Key::Character),
            Err(error) if error.error_len().is_none() => self.go_on(State::Utf8 { bytes, length }),
            Err(_) => None,
        }
    }
}

/// The key of a sequence that ends with this letter.
fn named(letter: u8, by_words: bool) -> Option<Key> {
    Some(match letter {
        b'A' => Key::Earlier,
        b'B' => Key::Later,
        b'C' if by_words => Key::WordRight,
        b'D' if by_words => Key::WordLeft,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'F' => Key::End,
        b'H' => Key::Home,
        _ => return None,
    })
}
