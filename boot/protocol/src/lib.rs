//! What the kernel tells its host runner on the serial line.
//!
//! The serial line carries text for people. Between the lines of text the
//! kernel places *records* for the runner: a line that starts with
//! [`RECORD_START`], a control character that no text contains. The runner
//! removes records from what it shows.
//!
//! A machine's run counts as good only when its records say so *and* QEMU's
//! exit status agrees; silence is a failure.
#![no_std]

use core::fmt;

pub mod replay;

/// Starts a record; never part of text. ASCII "record separator".
pub const RECORD_START: char = '\u{1e}';

/// Starts an address of the kernel's code in text: 16 hexadecimal digits follow. The runner writes the function, file and
/// line in its place; who has no runner sees the digits. ASCII "unit separator".
pub const PLACE_START: char = '\u{1f}';

/// An address of the kernel's code, written for the runner to say where that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u64);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PLACE_START}{:016x}", self.0)
    }
}

/// The port of QEMU's `isa-debug-exit` device, by which the kernel ends the machine.
pub const EXIT_PORT: u16 = 0xf4;

/// fw_cfg file that holds the kernel parameters: `key=value` words.
pub const FW_CFG_PARAMETERS: &str = "opt/vmalloc/parameters";

/// fw_cfg file that holds console commands to run instead of an interactive console.
pub const FW_CFG_COMMANDS: &str = "opt/vmalloc/commands";

/// fw_cfg file that holds a test filter: only tests whose name contains it are run.
pub const FW_CFG_FILTER: &str = "opt/vmalloc/filter";

/// The lines of commands in [`FW_CFG_COMMANDS`], which the kernel runs one after the other and tells of, each by a
/// [`Record::Command`].
pub fn commands(line: &str) -> impl Iterator<Item = &str> {
    line.split(';').map(str::trim).filter(|commands| !commands.is_empty())
}

/// Marks a moment for who watches instructions: `nop dword ptr [rax + MARK]` does nothing on any CPU, and stands nowhere
/// else. The plugin in `bench/counter` keeps the counts of that moment.
pub const MARK: i32 = 0x6d61_726b;

/// How the kernel ended its machine, as written to [`EXIT_PORT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All commands or tests succeeded.
    Success = 0x10,
    /// A command or a test failed.
    Failure = 0x11,
    /// The kernel panicked; its report is on the serial line.
    Panic = 0x12,
    /// The machine lacks something the kernel needs; said on the serial line.
    Unfit = 0x13,
}

impl Exit {
    const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Panic, Self::Unfit];

    /// The status QEMU exits with: `isa-debug-exit` makes 2V + 1 of the value V.
    #[must_use]
    pub const fn qemu_status(self) -> i32 {
        (self as i32) << 1 | 1
    }

    /// The inverse of [`Exit::qemu_status`]; `None` for a status the kernel never causes.
    #[must_use]
    pub fn from_qemu_status(status: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.qemu_status() == status)
    }
}

/// Declares a program to be a test kernel, by an ELF note that the host reads before it boots it.
///
/// Each test kernel says this once. With the name of its only test the host does not boot it where a filter keeps
/// that test out, and `TEST` is that name; without, the kernel has tests of many names and applies the filter itself.
#[macro_export]
macro_rules! test_kernel {
    () => {
        $crate::test_kernel!(@note "");
    };
    ($test:literal) => {
        /// The name of this kernel's only test.
        const TEST: &str = $test;
        $crate::test_kernel!(@note $test);
    };
    (@note $test:literal) => {
        // The linker keeps notes, and the name is that of `TEST_NOTE_SECTION`.
        #[used]
        #[unsafe(link_section = ".note.vmalloc.test")]
        static TEST_NOTE: $crate::TestNote<{ $test.len() }> = $crate::TestNote::new($test);
    };
}

/// The ELF section of [`TestNote`].
pub const TEST_NOTE_SECTION: &str = ".note.vmalloc.test";

/// An ELF note that tells a test kernel from a console, and names its only test if it has but one.
///
/// Laid out as the ELF specification's `Elf64_Nhdr`, and what follows it. [`test_kernel!`] makes one.
#[repr(C)]
#[derive(Debug)]
pub struct TestNote<const LENGTH: usize> {
    owner_size: u32,
    test_size: u32,
    kind: u32,
    owner: [u8; 8],
    test: [u8; LENGTH],
}

/// Whose notes these are.
const OWNER: [u8; 8] = *b"vmalloc\0";
/// The only kind of note of this owner.
const TEST_NOTE: u32 = 1;

impl<const LENGTH: usize> TestNote<LENGTH> {
    /// The note of a kernel whose only test is `test`; of one with tests of many names if it is empty.
    ///
    /// # Panics
    /// If `test` has not `LENGTH` bytes.
    #[must_use]
    pub const fn new(test: &str) -> Self {
        assert!(test.len() == LENGTH && LENGTH < 4096, "the name's length");
        let mut bytes = [0; LENGTH];
        bytes.copy_from_slice(test.as_bytes());
        Self {
            owner_size: OWNER.len() as u32,
            test_size: LENGTH as u32,
            kind: TEST_NOTE,
            owner: OWNER,
            test: bytes,
        }
    }
}

/// The name of the only test of a test kernel whose section [`TEST_NOTE_SECTION`] has this content; empty if it has
/// tests of many names, `None` if the content is no such note.
#[must_use]
pub fn read_test_note(section: &[u8]) -> Option<&str> {
    let word = |at: usize| Some(u32::from_le_bytes(section.get(at..at + 4)?.try_into().ok()?));
    if (word(0)? as usize, word(8)?) != (OWNER.len(), TEST_NOTE) || section.get(12..20)? != OWNER {
        return None;
    }
    core::str::from_utf8(section.get(20..20 + word(4)? as usize)?).ok()
}

/// One message from the kernel to its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The console is ready, or the commands of [`FW_CFG_COMMANDS`] start now:
    /// the text that follows is their output.
    Console,
    /// A command of the console starts: the text that follows is its output.
    Command {
        /// The command as it was given.
        text: &'a str,
    },
    /// All commands of [`FW_CFG_COMMANDS`] have run, `failed` of them failed.
    CommandsDone {
        /// Commands that failed.
        failed: usize,
    },
    /// A test kernel starts; it will run this many tests.
    Tests {
        /// Tests that the filter lets through.
        count: usize,
    },
    /// The named test starts.
    Test {
        /// Path of the test function.
        name: &'a str,
    },
    /// The test announced last has passed, and left everything balanced.
    Passed,
    /// All tests ran.
    TestsDone {
        /// Tests that passed.
        passed: usize,
    },
    /// The test announced last must now end the machine by a panic whose report contains `text`.
    ExpectPanic {
        /// Part of one line of the panic's report.
        text: &'a str,
    },
    /// A profile's samples at an address of the kernel's code.
    Sample {
        /// The address.
        address: u64,
        /// How many samples found a CPU there.
        count: u64,
    },
    /// All samples of a profile have been told: here is the place for its table.
    Profile {
        /// Samples a second, of each CPU.
        hertz: u64,
        /// Samples for which there was no room.
        lost: u64,
    },
    /// A panic's report starts.
    Panic,
    /// The machine is reset because the user asked for it.
    Reboot,
    /// The firmware is asked to switch the machine off, because it has no device for an exit status. It is the
    /// last record.
    PowerOff {
        /// What the exit status would have been: [`Exit::qemu_status`].
        status: i32,
    },
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(format_args!("{RECORD_START}"))?;
        match self {
            Self::Console => write!(f, "console"),
            Self::Command { text } => write!(f, "command {text}"),
            Self::CommandsDone { failed } => write!(f, "commands-done {failed}"),
            Self::Tests { count } => write!(f, "tests {count}"),
            Self::Test { name } => write!(f, "test {name}"),
            Self::Passed => write!(f, "passed"),
            Self::TestsDone { passed } => write!(f, "tests-done {passed}"),
            Self::ExpectPanic { text } => write!(f, "expect-panic {text}"),
            Self::Sample { address, count } => write!(f, "sample {address:x} {count}"),
            Self::Profile { hertz, lost } => write!(f, "profile {hertz} {lost}"),
            Self::Panic => write!(f, "panic"),
            Self::Reboot => write!(f, "reboot"),
            Self::PowerOff { status } => write!(f, "power-off {status}"),
        }
    }
}

impl<'a> Record<'a> {
    /// Reads one line, without its line end. `None` if it is text, or a record this version does not know.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix(RECORD_START)?;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            // What follows a word that has nothing to follow it is the rest of something else.
            "console" | "passed" | "panic" | "reboot" if !rest.is_empty() => return None,
            "console" => Self::Console,
            "command" => Self::Command { text: rest },
            "commands-done" => Self::CommandsDone { failed: rest.parse().ok()? },
            "tests" => Self::Tests { count: rest.parse().ok()? },
            "test" => Self::Test { name: rest },
            "passed" => Self::Passed,
            "tests-done" => Self::TestsDone { passed: rest.parse().ok()? },
            "expect-panic" => Self::ExpectPanic { text: rest },
            "sample" => {
                let (address, count) = rest.split_once(' ')?;
                Self::Sample { address: u64::from_str_radix(address, 16).ok()?, count: count.parse().ok()? }
            }
            "profile" => {
                let (hertz, lost) = rest.split_once(' ')?;
                Self::Profile { hertz: hertz.parse().ok()?, lost: lost.parse().ok()? }
            }
            "panic" => Self::Panic,
            "reboot" => Self::Reboot,
            "power-off" => Self::PowerOff { status: rest.parse().ok()? },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_record_is_read_back_as_it_was_written() {
        for record in [
            Record::Console,
            Record::Command { text: "sysctl a.b=1 | grep x" },
            Record::CommandsDone { failed: 3 },
            Record::Tests { count: 41 },
            Record::Test { name: "frames::a b" },
            Record::Passed,
            Record::TestsDone { passed: 7 },
            Record::ExpectPanic { text: "guard page of" },
            Record::Sample { address: 0xffff_ffff_8000_1234, count: 17 },
            Record::Profile { hertz: 1000, lost: 3 },
            Record::Panic,
            Record::Reboot,
            Record::PowerOff { status: Exit::Failure.qemu_status() },
        ] {
            assert_eq!(Record::parse(&record.to_string()), Some(record));
        }
    }

    /// Seen failing with the name's size where the owner's belongs.
    #[test]
    fn notes_of_test_kernels_are_read_back() {
        fn bytes<const LENGTH: usize>(note: &TestNote<LENGTH>) -> std::vec::Vec<u8> {
            let sizes = [note.owner_size, note.test_size, note.kind].map(u32::to_le_bytes);
            [sizes.as_flattened(), &note.owner, &note.test].concat()
        }
        assert_eq!(read_test_note(&bytes(&TestNote::<4>::new("a::b"))), Some("a::b"));
        assert_eq!(read_test_note(&bytes(&TestNote::<0>::new(""))), Some(""));
        assert_eq!(core::mem::offset_of!(TestNote<4>, test), 20);
        let whole = bytes(&TestNote::<4>::new("a::b"));
        for length in 0..whole.len() {
            assert_eq!(read_test_note(&whole[..length]), None, "{length} bytes");
        }
        let mut foreign = whole;
        foreign[12] = b'G';
        assert_eq!(read_test_note(&foreign), None);
    }

    /// Seen failing with an empty text, and with the number in decimal.
    #[test]
    fn a_place_is_a_mark_and_sixteen_digits() {
        assert_eq!(Place(0xffff_8000_0000_12ab).to_string(), "\u{1f}ffff8000000012ab");
        assert_eq!(Place(7).to_string(), "\u{1f}0000000000000007");
    }

    #[test]
    fn text_is_no_record() {
        assert_eq!(Record::parse("passed"), None);
        assert_eq!(Record::parse(""), None);
        assert_eq!(Record::parse("\u{1e}nosuch"), None);
        assert_eq!(Record::parse("\u{1e}tests many"), None);
        assert_eq!(Record::parse("\u{1e}passed through"), None);
    }

    #[test]
    fn commands_are_split_at_semicolons_and_blank_ones_are_none() {
        assert_eq!(commands(" a b;; c & d ; ").collect::<std::vec::Vec<_>>(), ["a b", "c & d"]);
        assert_eq!(commands(" ;").count(), 0);
    }

    #[test]
    fn exits_survive_qemu() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_qemu_status(exit.qemu_status()), Some(exit));
        }
        assert_eq!(Exit::from_qemu_status(0), None);
        assert_eq!(Exit::from_qemu_status(1), None);
    }
}
