//! `vmap_loop`: maps and unmaps much of the caller's memory in a loop, 2 MiB of which are contiguous, or no two pages.

use super::{
    cases::reserve,
    parameters::{assignment, flag},
};
use crate::{
    arch::tsc,
    command::CommandError,
    memory::{self, frames},
    println,
    services::reclaim,
};
use alloc::{format, vec::Vec};
use vmalloc::{AllocError, BLOCK_PAGES, Frame, Protection};

/// What `help vmap_loop` says.
pub const ABOUT: &str = "maps frames and unmaps them, to count what that takes\n\
    nr_pages    pages of a loop, 1 to 262144 (16384)\n\
    loops       loops (1000)\n\
    contiguous  1: 2 MiB after 2 MiB, 0: each 2 MiB from its end to its start (1)";

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong, or says why nothing could be mapped.
pub fn command(arguments: &[&str]) -> Result<(), CommandError> {
    let (mut pages, mut loops, mut contiguous) = (16384, 1000, true);
    for word in arguments {
        match assignment(word)? {
            ("nr_pages", value @ 1..=262_144) => pages = value as usize,
            ("nr_pages", _) => {
                return Err(CommandError::new(format!("{word}: not a number from 1 to 262144")));
            }
            ("loops", value) => loops = value,
            ("contiguous", value) => contiguous = flag(word, value)?,
            (name, _) => return Err(CommandError::new(format!("{name}: no such parameter"))),
        }
    }
    let usec = run(pages, loops, contiguous).map_err(|error| CommandError::new(format!("{error}")))?;
    println!("Summary: vmap passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: {loops} avg: {usec} usec");
    Ok(())
}

/// Runs the loops: how many microseconds they took.
fn run(pages: usize, loops: u64, contiguous: bool) -> Result<u64, AllocError> {
    let memory = HugeFrames::take(pages.div_ceil(BLOCK_PAGES))?;
    let mut frames = reserve(memory.0.len() * BLOCK_PAGES)?;
    for first in &memory.0 {
        let block = (first.number()..).take(BLOCK_PAGES).map(Frame::new);
        frames.extend(block);
        if !contiguous {
            let start = frames.len() - BLOCK_PAGES;
            frames[start..].reverse();
        }
    }
    let vmalloc = memory::vmalloc();
    let start = tsc::now();
    for _ in 0..loops {
        let area = vmalloc.vmap(&frames[..pages], Protection::ReadWrite)?;
        // SAFETY: the area is ours, and so are the frames. Nobody uses it after it is unmapped.
        let unmapped = unsafe {
            area.write_volatile(1);
            vmalloc.vunmap(area)
        };
        if let Err(error) = unmapped {
            panic!("what was mapped cannot be unmapped: {error}");
        }
    }
    Ok(tsc::microseconds(tsc::since(start)))
}

/// Huge frames, each by the first of its frames, that go back when dropped.
struct HugeFrames(Vec<Frame>);

impl HugeFrames {
    fn take(count: usize) -> Result<Self, AllocError> {
        let mut taken = Self(reserve(count)?);
        for _ in 0..count {
            taken.0.push(reclaim::take_huge().ok_or_else(|| frames::shortage(BLOCK_PAGES))?);
        }
        Ok(taken)
    }
}

impl Drop for HugeFrames {
    fn drop(&mut self) {
        memory::vmalloc().vm_unmap_aliases();
        // SAFETY: they were taken by `take`, and no CPU has a translation to them any more.
        self.0.drain(..).for_each(|first| unsafe { frames::give_huge(first) });
    }
}
