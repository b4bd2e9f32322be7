//! The verdicts on a package's changes, kept in a file: a run that was cut off goes on where it was.
//!
//! The first line has the number of the sources; each other one a verdict and a change, by its file's text. Other sources begin
//! anew, unless the user believes what was seen in files that are as they were.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::judge::Verdict;
use crate::status::{Doing, Error, Result};

/// The file, which is this run's alone, and what it says.
#[derive(Debug)]
pub struct Kept {
    file: File,
    verdicts: BTreeMap<String, Verdict>,
}

/// What a verdict on other sources counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nothing.
    Forgotten,
    /// A change that a test saw there is seen; of the others nothing is known.
    Believed,
}

impl Kept {
    /// Opens the file for sources of that number.
    ///
    /// # Errors
    /// If it cannot be written, or another run has it.
    pub fn open(path: &Path, sources: u64, others: Others) -> Result<Self> {
        // With what is believed the file is none for a run that believes nothing.
        let believed = if others == Others::Believed { " and others" } else { "" };
        let head = format!("sources {sources:016x}{believed}\n");
        let doing = || format!("write {}", path.display());
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).doing(doing())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::failed(format!("another run of mutants has {}", path.display())));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).doing(format_args!("lock {}", path.display()));
            }
        }
        let mut old = String::new();
        // What is no text is none of ours.
        let _ = file.read_to_string(&mut old);
        // The last line may be cut off, and the first one is no verdict.
        let mut verdicts: BTreeMap<String, Verdict> = old.split_inclusive('\n').filter_map(read).collect();
        if !old.starts_with(&head) {
            verdicts.retain(|_, verdict| others == Others::Believed && verdict.needs_no_test());
        }
        let all: String = verdicts.iter().map(|(text, verdict)| line(text, *verdict)).collect();
        file.rewind().and_then(|()| file.set_len(0)).doing(doing())?;
        file.write_all((head + &all).as_bytes()).doing(doing())?;
        Ok(Self { file, verdicts })
    }

    /// The verdict on a change, if there is one.
    #[must_use]
    pub fn verdict(&self, text: &str) -> Option<Verdict> {
        self.verdicts.get(text).copied()
    }

    /// Keeps a verdict.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self, text: &str, verdict: Verdict) -> Result<()> {
        self.file.write_all(line(text, verdict).as_bytes()).doing("write a verdict")?;
        self.verdicts.insert(text.into(), verdict);
        Ok(())
    }
}

fn line(text: &str, verdict: Verdict) -> String {
    format!("{}\t{text}\n", verdict.word())
}

/// Reads a line, which must be whole.
fn read(line: &str) -> Option<(String, Verdict)> {
    let (word, text) = line.strip_suffix('\n')?.split_once('\t')?;
    let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.word() == word)?;
    Some((text.into(), verdict))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_run_goes_on_where_it_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.txt");
        for verdict in Verdict::ALL {
            Kept::open(&path, 7, Others::Forgotten).unwrap().keep(verdict.word(), verdict).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "seen\tcut of").unwrap();
        let mut kept = Kept::open(&path, 7, Others::Forgotten).unwrap();
        for verdict in Verdict::ALL {
            assert_eq!(kept.verdict(verdict.word()), Some(verdict));
        }
        assert_eq!(kept.verdict("cut of"), None);
        kept.keep("cut off", Verdict::Seen).unwrap();
        drop(kept);
        assert_eq!(Kept::open(&path, 7, Others::Forgotten).unwrap().verdict("cut off"), Some(Verdict::Seen));
    }

    /// Seen failing without a lock.
    #[test]
    fn of_two_runs_at_once_the_second_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.txt");
        let mut first = Kept::open(&path, 7, Others::Forgotten).unwrap();
        first.keep("a", Verdict::Seen).unwrap();
        let refused = Kept::open(&path, 7, Others::Forgotten).unwrap_err();
        assert!(refused.message.starts_with("another run of mutants has "), "{}", refused.message);
        first.keep("b", Verdict::Survived).unwrap();
        drop(first);
        let kept = Kept::open(&path, 7, Others::Forgotten).unwrap();
        assert_eq!((kept.verdict("a"), kept.verdict("b")), (Some(Verdict::Seen), Some(Verdict::Survived)));
    }

    #[test]
    fn other_sources_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.txt");
        Kept::open(&path, 7, Others::Forgotten).unwrap().keep("a", Verdict::Seen).unwrap();
        assert_eq!(Kept::open(&path, 8, Others::Forgotten).unwrap().verdict("a"), None);
        assert_eq!(Kept::open(&path, 7, Others::Forgotten).unwrap().verdict("a"), None);
    }

    /// Seen failing with all of them believed.
    #[test]
    fn of_other_sources_what_was_seen_is_believed_if_the_user_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.txt");
        let open = |sources| Kept::open(&path, sources, Others::Believed).unwrap();
        for verdict in Verdict::ALL {
            open(7).keep(verdict.word(), verdict).unwrap();
        }
        let kept = open(8);
        for verdict in [Verdict::Seen, Verdict::TimedOut, Verdict::NotCompiled] {
            assert_eq!(kept.verdict(verdict.word()), Some(verdict));
        }
        for verdict in [Verdict::Survived, Verdict::Untested] {
            assert_eq!(kept.verdict(verdict.word()), None);
        }
        drop(kept);
        open(8).keep("survived now", Verdict::Survived).unwrap();
        assert_eq!(open(8).verdict("survived now"), Some(Verdict::Survived), "it goes on where it was");
        let anew = Kept::open(&path, 8, Others::Forgotten).unwrap();
        assert!(Verdict::ALL.iter().all(|verdict| anew.verdict(verdict.word()).is_none()));
    }
}
