//! Which thread an event is of.

use core::fmt;

/// A thread, as events tell of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The beginning of its name, filled up with zeros.
    pub tag: [u8; 16],
    /// Its number; 0 of a CPU that idles, and before there are threads.
    pub id: u32,
}

impl Who {
    /// Returns the beginning of the thread's name.
    #[must_use]
    pub fn name(&self) -> &str {
        let end = self.tag.iter().position(|&byte| byte == 0).unwrap_or(self.tag.len());
        // A character that the end cut in two is left out.
        self.tag[..end].utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    pub(super) fn to_words(self) -> [u64; 3] {
        let [low, high] = *self.tag.as_chunks().0 else { unreachable!("it is two words long") };
        [u64::from_ne_bytes(low), u64::from_ne_bytes(high), self.id.into()]
    }

    pub(super) fn from_words([low, high, id]: [u64; 3]) -> Self {
        let mut tag = [0; 16];
        tag.copy_from_slice([low.to_ne_bytes(), high.to_ne_bytes()].as_flattened());
        Self { tag, id: id as u32 }
    }
}

/// Writes the name and the number, as `purge-3`.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name(), self.id)
    }
}
