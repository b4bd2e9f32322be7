//! What is remembered of an area that was freed.

use crate::types::area::Kind;
use core::{fmt, panic::Location};

/// An area that was freed, as [`whatis`](crate::Vmalloc::whatis) and
/// [`FreeError::FreedBefore`](crate::FreeError::FreedBefore) report it. It is remembered if
/// [`set_remembered`](crate::Vmalloc::set_remembered) asked for that beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Freed {
    /// First address.
    pub start: usize,
    /// Pages of 4 KiB, without guard pages.
    pub pages: usize,
    /// Bytes that were asked for.
    pub requested: usize,
    /// Which call made the area.
    pub kind: Kind,
    /// Who made it; `None` for a mapping of `vm_map_ram` without a guard page.
    pub allocated_by: Option<&'static Location<'static>>,
    /// Who freed it.
    pub freed_by: &'static Location<'static>,
    /// The CPU that freed it.
    pub cpu: usize,
    /// How the machine names the thread that freed it: [`Platform::thread_tag`](crate::Platform::thread_tag).
    pub thread: [u8; 16],
    /// Nanoseconds from the free to the lookup, by [`Platform::now`](crate::Platform::now); 0 without a clock.
    pub age: u64,
}

/// Writes what it was, who freed it, where and how long ago.
impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, requested, kind, allocated_by, freed_by, cpu, thread, age, .. } = self;
        write!(f, "{requested} bytes of {} at {start:#x}", kind.name())?;
        if let Some(allocated_by) = allocated_by {
            write!(f, ", allocated by {allocated_by}")?;
        }
        write!(f, ", freed by {freed_by} on CPU {cpu}")?;
        let end = thread.iter().position(|&byte| byte == 0).unwrap_or(thread.len());
        match core::str::from_utf8(&thread[..end]) {
            Ok("") | Err(_) => {}
            Ok(name) => write!(f, " in the thread {name}")?,
        }
        match age {
            0 => Ok(()),
            1..1_000_000 => write!(f, ", {} us ago", age / 1000),
            1_000_000..10_000_000_000 => write!(f, ", {} ms ago", age / 1_000_000),
            _ => write!(f, ", {} s ago", age / 1_000_000_000),
        }
    }
}
