//! A program of calls, read as it is needed.

use crate::{command::CommandError, drivers::fw_cfg};
use alloc::{collections::TryReserveError, format, vec::Vec};
use protocol::replay::{BadProgram, Call, Header};

/// Bytes that are read from their beginning to their end.
pub trait Source {
    /// How many have not been read.
    fn left(&self) -> usize;

    /// Reads the next ones. `false`: there are not as many, and none was read.
    fn read(&mut self, bytes: &mut [u8]) -> bool;
}

impl Source for fw_cfg::File {
    fn left(&self) -> usize {
        fw_cfg::File::left(self)
    }

    fn read(&mut self, bytes: &mut [u8]) -> bool {
        fw_cfg::File::read(self, bytes)
    }
}

impl Source for &[u8] {
    fn left(&self) -> usize {
        self.len()
    }

    fn read(&mut self, bytes: &mut [u8]) -> bool {
        let Some((first, rest)) = self.split_at_checked(bytes.len()) else { return false };
        bytes.copy_from_slice(first);
        *self = rest;
        true
    }
}

/// A program, read up to some call.
pub(super) struct Program<S> {
    source: S,
    pub header: Header,
    /// Calls that are still to be read.
    left: u64,
}

impl<S: Source> Program<S> {
    /// Begins to read a program.
    ///
    /// # Errors
    /// It is cut, or of another kind.
    pub fn open(mut source: S) -> Result<Self, CommandError> {
        let mut bytes = [0; Header::SIZE];
        if !source.read(&mut bytes) {
            return Err(CommandError::new("the program is cut within its header"));
        }
        let header = Header::from_bytes(&bytes).map_err(|bad| CommandError::new(format!("{bad}")))?;
        let there = (source.left() / Call::SIZE) as u64;
        if there < header.calls {
            let calls = header.calls;
            return Err(CommandError::new(format!("the program is cut: {there} of {calls} calls are there")));
        }
        Ok(Self { source, header, left: header.calls })
    }

    /// Returns the next calls, `most` at the most; none when the program is over.
    ///
    /// # Errors
    /// A call that is none, or no memory for so many.
    pub fn read(&mut self, most: usize) -> Result<Vec<Call>, CommandError> {
        let failed = |error: TryReserveError| CommandError::new(format!("{error}"));
        let count = self.left.min(most as u64) as usize;
        let (mut bytes, mut calls) = (Vec::new(), Vec::new());
        bytes.try_reserve_exact(count * Call::SIZE).map_err(failed)?;
        calls.try_reserve_exact(count).map_err(failed)?;
        bytes.resize(count * Call::SIZE, 0);
        // There are as many bytes as `open` counted.
        self.source.read(&mut bytes);
        for call in bytes.as_chunks().0 {
            calls.push(Call::from_bytes(call, &self.header).map_err(|bad| self.wrong(bad))?);
            self.left -= 1;
        }
        Ok(calls)
    }

    fn wrong(&self, bad: BadProgram) -> CommandError {
        CommandError::new(format!("call {}: {bad}", self.header.calls - self.left))
    }
}
