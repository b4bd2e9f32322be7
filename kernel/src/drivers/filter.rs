//! Lines that contain a text, of those that are written.

/// Bytes of a line in which the text is looked for.
const WIDTH: usize = 256;
/// Bytes of the longest text.
const LONGEST: usize = 64;

/// Holds each line back until it is known whether the text is in its first 256 bytes.
pub(super) struct Filter {
    text: heapless::Vec<u8, LONGEST>,
    held: heapless::Vec<u8, WIDTH>,
    /// Of a longer line, whether its rest is wanted.
    rest: Option<bool>,
}

impl Filter {
    /// `None`: the text is too long.
    pub fn new(text: &str) -> Option<Self> {
        let text = heapless::Vec::from_slice(text.as_bytes()).ok()?;
        Some(Self { text, held: heapless::Vec::new(), rest: None })
    }

    /// Takes the next byte, and gives `sink` what is to be seen.
    pub fn feed(&mut self, byte: u8, mut sink: impl FnMut(u8)) {
        match self.rest {
            Some(is_wanted) => {
                if is_wanted {
                    sink(byte);
                }
            }
            // There is room: at the end of this call there is none left only for a moment.
            None => {
                let _has_room = self.held.push(byte);
                if self.held.is_full() && byte != b'\n' {
                    self.rest = Some(self.matches());
                }
                if byte == b'\n' || self.rest.is_some() {
                    if self.matches() {
                        self.held.iter().for_each(|&byte| sink(byte));
                    }
                    self.held.clear();
                }
            }
        }
        if byte == b'\n' {
            self.rest = None;
        }
    }

    fn matches(&self) -> bool {
        self.text.is_empty() || self.held.windows(self.text.len()).any(|window| window == self.text)
    }
}
