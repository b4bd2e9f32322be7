//! The word that was probably meant.

/// Characters of the longest word that is looked at.
const LONGEST: usize = 48;

/// Returns which of `words` was probably meant by `typed`, which is none of them: one that it begins, alone, or ends behind
/// a dot; or else the one that is nearest to it, if few letters differ.
#[must_use]
pub fn nearest<'a>(typed: &str, words: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if typed.is_empty() {
        return None;
    }
    let mut begun = words.clone().filter(|word| word.starts_with(typed));
    if let (Some(word), None) = (begun.next(), begun.next()) {
        return Some(word);
    }
    let behind_a_dot = |word: &&str| word.strip_suffix(typed).is_some_and(|before| before.ends_with('.'));
    if let Some(word) = words.clone().find(behind_a_dot) {
        return Some(word);
    }
    let measured = words.filter_map(|word| Some((distance(typed, word)?, word)));
    let (differ, word) = measured.min_by_key(|(differ, _)| *differ)?;
    // Of a word of four letters one may be wrong, of longer ones a third.
    (differ <= (typed.chars().count() / 3).max(1)).then_some(word)
}

/// Returns how many letters must be changed, added, left out or swapped with the next one; `None` for very long words.
fn distance(one: &str, other: &str) -> Option<usize> {
    if one.chars().count() > LONGEST || other.chars().count() > LONGEST {
        return None;
    }
    // Rows of the table of distances between beginnings: the one before the last, the last, and this one.
    let mut rows = [[0; LONGEST + 1]; 3];
    rows[1].iter_mut().enumerate().for_each(|(column, distance)| *distance = column);
    let mut before = None;
    for (row, left) in one.chars().enumerate() {
        rows[2][0] = row + 1;
        let mut above = None;
        for (column, right) in other.chars().enumerate() {
            let changed = rows[1][column] + usize::from(left != right);
            let mut least = changed.min(rows[1][column + 1] + 1).min(rows[2][column] + 1);
            if before == Some(right) && above == Some(left) {
                least = least.min(rows[0][column - 1] + 1);
            }
            rows[2][column + 1] = least;
            above = Some(right);
        }
        before = Some(left);
        rows.rotate_left(1);
    }
    Some(rows[1][other.chars().count()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 6] =
        ["meminfo", "vmallocinfo", "vmalloc.lazy_max_pages", "vmalloc.drain", "trace", "trim"];

    fn meant(typed: &str) -> Option<&'static str> {
        nearest(typed, WORDS.into_iter())
    }

    #[test]
    fn beginnings_ends_and_slips_are_found() {
        assert_eq!(meant("mem"), Some("meminfo"));
        assert_eq!(meant("vmalocinfo"), Some("vmallocinfo"));
        assert_eq!(meant("vmlalocinfo"), Some("vmallocinfo"));
        assert_eq!(meant("lazy_max_pages"), Some("vmalloc.lazy_max_pages"));
        assert_eq!(meant("tarce"), Some("trace"));
        assert_eq!(meant("tirm"), Some("trim"));
    }

    #[test]
    fn what_is_like_none_or_like_several_is_left_alone() {
        for typed in ["", "tr", "xyz", "poweroff", "zzzzzzzzzz"] {
            assert_eq!(meant(typed), None, "{typed}");
        }
        let of = |letters: usize| "x".repeat(letters);
        assert_eq!(distance(&of(LONGEST), &of(LONGEST)), Some(0));
        for (one, other) in [(LONGEST + 1, 1), (1, LONGEST + 1), (LONGEST + 1, LONGEST + 1)] {
            assert_eq!(distance(&of(one), &of(other)), None, "{one} and {other} letters");
        }
        let long = "x".repeat(100);
        assert_eq!(nearest(&long, core::iter::once(&*long).map(|word| &word[1..])), None);
    }

    #[test]
    fn distances_are_those_that_a_recursion_finds() {
        fn slow(one: &[char], other: &[char]) -> usize {
            let (Some((left, ones)), Some((right, others))) = (one.split_last(), other.split_last()) else {
                return one.len() + other.len();
            };
            let mut least = (slow(ones, others) + usize::from(left != right)).min(slow(ones, other) + 1);
            least = least.min(slow(one, others) + 1);
            if let (Some((l, rest)), Some((r, rests))) = (ones.split_last(), others.split_last())
                && l == right
                && r == left
            {
                least = least.min(slow(rest, rests) + 1);
            }
            least
        }
        let words = ["", "a", "ab", "ba", "abc", "cab", "abca", "bacb", "acbab"];
        for one in words {
            for other in words {
                let chars = |word: &str| word.chars().collect::<alloc::vec::Vec<_>>();
                assert_eq!(distance(one, other), Some(slow(&chars(one), &chars(other))), "{one} {other}");
            }
        }
    }
}
