//! A program of vmalloc calls, as the host hands it to the kernel's `replay` command: a header, then the calls, each of
//! the same size, in the order in which they are to be made.
//!
//! Integers are little-endian. What is read is checked: a program may be cut, or be none.

use core::fmt;

/// fw_cfg file that holds the program.
pub const FW_CFG_PROGRAM: &str = "opt/vmalloc/replay";

/// First bytes of a program; the last of them is the format's version.
const MAGIC: [u8; 8] = *b"vmcalls\x01";

/// What is to be known before the first call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Calls that follow.
    pub calls: u64,
    /// Slots: areas that are alive at one time, at the most.
    pub slots: u32,
    /// Frames of the largest mapping.
    pub frames: u32,
    /// CPUs that the calls were recorded on: their numbers are below.
    pub cpus: u16,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Allocates an area of so many bytes, at a multiple of 2^`align` bytes.
    Vmalloc {
        /// Bytes.
        size: u64,
        /// Logarithm of the alignment to base two.
        align: u8,
    },
    /// Frees what [`Vmalloc`](Self::Vmalloc) allocated.
    Vfree,
    /// Maps so many frames.
    Vmap {
        /// Frames.
        pages: u32,
    },
    /// Unmaps what [`Vmap`](Self::Vmap) mapped.
    Vunmap,
    /// Maps so many frames for a short time.
    VmMapRam {
        /// Frames.
        pages: u32,
    },
    /// Unmaps what [`VmMapRam`](Self::VmMapRam) mapped.
    VmUnmapRam,
    /// Waits until no CPU has a translation left of what was unmapped.
    VmUnmapAliases,
}

/// A call of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it asks for.
    pub action: Action,
    /// Where it leaves its area, or finds it; without meaning for [`Action::VmUnmapAliases`].
    pub slot: u32,
    /// The CPU that made it.
    pub cpu: u16,
    /// Nanoseconds after the first call.
    pub time: u64,
}

/// Why bytes are no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadProgram {
    /// The first bytes are others than those of a program of this version.
    Magic,
    /// A call of a kind that is not known.
    Kind {
        /// Its number.
        kind: u8,
    },
    /// A slot, CPU, alignment or number of pages beyond what the header or the machine allows.
    OutOfBounds {
        /// Which of them.
        what: &'static str,
        /// Its value.
        value: u64,
    },
}

impl fmt::Display for BadProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("this is no program of calls, or one of another version"),
            Self::Kind { kind } => write!(f, "a call of the kind {kind}, which is not known"),
            Self::OutOfBounds { what, value } => write!(f, "{what} {value}, which is too many"),
        }
    }
}

impl core::error::Error for BadProgram {}

impl Header {
    /// Bytes of a header.
    pub const SIZE: usize = 32;

    /// Writes the header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.calls.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.slots.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.frames.to_le_bytes());
        bytes[24..26].copy_from_slice(&self.cpus.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`BadProgram::Magic`].
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, BadProgram> {
        if bytes[..8] != MAGIC {
            return Err(BadProgram::Magic);
        }
        Ok(Self {
            calls: u64::from_le_bytes(part(bytes, 8)),
            slots: u32::from_le_bytes(part(bytes, 16)),
            frames: u32::from_le_bytes(part(bytes, 20)),
            cpus: u16::from_le_bytes(part(bytes, 24)),
        })
    }
}

impl Call {
    /// Bytes of a call.
    pub const SIZE: usize = 24;

    /// Writes the call as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let (kind, align, amount) = match self.action {
            Action::Vmalloc { size, align } => (0, align, size),
            Action::Vfree => (1, 0, 0),
            Action::Vmap { pages } => (2, 0, pages.into()),
            Action::Vunmap => (3, 0, 0),
            Action::VmMapRam { pages } => (4, 0, pages.into()),
            Action::VmUnmapRam => (5, 0, 0),
            Action::VmUnmapAliases => (6, 0, 0),
        };
        let mut bytes = [0; Self::SIZE];
        bytes[0] = kind;
        bytes[1] = align;
        bytes[2..4].copy_from_slice(&self.cpu.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.slot.to_le_bytes());
        bytes[8..16].copy_from_slice(&amount.to_le_bytes());
        bytes[16..].copy_from_slice(&self.time.to_le_bytes());
        bytes
    }

    /// Reads a call of the program that begins with `header`.
    ///
    /// # Errors
    /// [`BadProgram`], where it is none or asks for more than the header says.
    pub fn from_bytes(bytes: &[u8; Self::SIZE], header: &Header) -> Result<Self, BadProgram> {
        let below = |what, value: u64, limit: u64| match value < limit {
            true => Ok(value),
            false => Err(BadProgram::OutOfBounds { what, value }),
        };
        let amount = u64::from_le_bytes(part(bytes, 8));
        let pages = || Ok(below("pages", amount, u64::from(header.frames) + 1)? as u32);
        let action = match bytes[0] {
            0 => {
                let align = below("an alignment of 2 to the", bytes[1].into(), 64)? as u8;
                Action::Vmalloc { size: amount, align }
            }
            1 => Action::Vfree,
            2 => Action::Vmap { pages: pages()? },
            3 => Action::Vunmap,
            4 => Action::VmMapRam { pages: pages()? },
            5 => Action::VmUnmapRam,
            6 => Action::VmUnmapAliases,
            kind => return Err(BadProgram::Kind { kind }),
        };
        let slot = u32::from_le_bytes(part(bytes, 4));
        let cpu = u16::from_le_bytes(part(bytes, 2));
        if action != Action::VmUnmapAliases {
            below("slot", slot.into(), header.slots.into())?;
        }
        below("CPU", cpu.into(), header.cpus.into())?;
        Ok(Self { action, slot, cpu, time: u64::from_le_bytes(part(bytes, 16)) })
    }
}

/// The `N` bytes from `start` on, which are there.
fn part<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    core::array::from_fn(|index| bytes[start + index])
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const HEADER: Header = Header { calls: 7, slots: 3, frames: 9, cpus: 4 };

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Header::from_bytes(&HEADER.to_bytes()), Ok(HEADER));
        for (slot, action) in [
            Action::Vmalloc { size: 12345, align: 12 },
            Action::Vfree,
            Action::Vmap { pages: 9 },
            Action::Vunmap,
            Action::VmMapRam { pages: 1 },
            Action::VmUnmapRam,
            Action::VmUnmapAliases,
        ]
        .into_iter()
        .enumerate()
        {
            let call = Call { action, slot: slot as u32 % 3, cpu: 3, time: 1 << 40 };
            assert_eq!(Call::from_bytes(&call.to_bytes(), &HEADER), Ok(call));
        }
    }

    #[test]
    fn no_byte_of_a_call_may_lead_beyond_the_header() {
        let call = Call { action: Action::Vmap { pages: 9 }, slot: 2, cpu: 3, time: 0 };
        let wrong = |at: usize, byte: u8| {
            let mut bytes = call.to_bytes();
            bytes[at] = byte;
            Call::from_bytes(&bytes, &HEADER)
        };
        assert_eq!(wrong(0, 7), Err(BadProgram::Kind { kind: 7 }));
        assert_eq!(wrong(2, 4), Err(BadProgram::OutOfBounds { what: "CPU", value: 4 }));
        assert_eq!(wrong(4, 3), Err(BadProgram::OutOfBounds { what: "slot", value: 3 }));
        assert_eq!(wrong(8, 10), Err(BadProgram::OutOfBounds { what: "pages", value: 10 }));
        let aligned = |align| {
            let call = Call { action: Action::Vmalloc { size: 1, align }, slot: 0, cpu: 0, time: 0 };
            Call::from_bytes(&call.to_bytes(), &HEADER).map(|read| read == call)
        };
        assert_eq!(aligned(63), Ok(true));
        assert_eq!(aligned(64), Err(BadProgram::OutOfBounds { what: "an alignment of 2 to the", value: 64 }));
        // What has no area has no slot that could be wrong.
        let call = Call { action: Action::VmUnmapAliases, slot: 3, cpu: 0, time: 0 };
        assert_eq!(Call::from_bytes(&call.to_bytes(), &HEADER), Ok(call));
        let mut bytes = HEADER.to_bytes();
        bytes[7] += 1;
        assert_eq!(Header::from_bytes(&bytes), Err(BadProgram::Magic));
    }

    /// Seen failing with an empty text.
    #[test]
    fn what_is_wrong_with_a_program_is_said() {
        for (wrong, words) in [
            (BadProgram::Magic, "this is no program of calls, or one of another version"),
            (BadProgram::Kind { kind: 9 }, "a call of the kind 9, which is not known"),
            (BadProgram::OutOfBounds { what: "slot", value: 7 }, "slot 7, which is too many"),
        ] {
            assert_eq!(wrong.to_string(), words);
        }
    }
}
