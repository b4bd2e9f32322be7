//! What the kernel's command `replay` printed: lines of a name, and words and numbers in turn.

use std::collections::HashMap;

/// The numbers that were printed.
#[derive(Debug, Default)]
pub struct Reply(HashMap<(String, String), u64>);

impl Reply {
    /// Reads what was printed; `None` if a line is of another form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = HashMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (name, rest) = line.split_once(": ")?;
            let words: Vec<&str> = rest.split(' ').collect();
            for pair in words.chunks(2) {
                let [what, number] = pair else { return None };
                numbers.insert((name.to_owned(), (*what).to_owned()), number.parse().ok()?);
            }
        }
        Some(Self(numbers))
    }

    /// Returns a number; `None` if none was printed by this name.
    pub fn get(&self, line: &str, what: &str) -> Option<u64> {
        self.0.get(&(line.to_owned(), what.to_owned())).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_words_and_numbers_are_read() {
        let reply = Reply::parse("vmalloc: calls 3 failed 0\nrun: cpus 2\n").unwrap();
        assert_eq!((reply.get("vmalloc", "calls"), reply.get("run", "cpus")), (Some(3), Some(2)));
        assert_eq!(reply.get("run", "calls"), None);
        for wrong in ["vmalloc calls 3", "vmalloc: calls", "vmalloc: calls x"] {
            assert!(Reply::parse(wrong).is_none(), "{wrong}");
        }
    }
}
