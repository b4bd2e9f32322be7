//! `floor`: a loop that no allocator of mapped memory can beat, to compare the cases with.
//!
//! It takes frames from the top of a stack, an array; writes the page table entries that map them; clears
//! the entries, and puts the frames back. The table is linked nowhere: nothing is mapped. There is no search
//! for address space, no lock, no mark of where an area ends, no flush, no check of what is freed, and
//! the first entry is always the same.
//!
//! With `touch` each loop also writes a byte to a page that the TLB does not have, as all cases do to what they have
//! mapped: for time, of which an emulator takes most there. The pages are mapped all along, to one frame, which
//! stays in the caches; after as many loops as there are pages the CPU flushes.
//!
//! Entries are atomic, as a CPU may walk them at any time: so the compiler leaves none out and writes each
//! by itself. It makes two plain loops, a little unrolled (looked at): to map a page is a load, an OR, a
//! store; to unmap it a load, an AND, and two stores, or one where the frames stay the caller's.

use super::{
    cases::reserve,
    parameters::{assignment, flag},
};
use crate::{
    arch::{tlb, tsc},
    command::CommandError,
    memory::{self, frames},
    println,
    services::reclaim,
};
use alloc::{format, vec::Vec};
use core::{
    hint::black_box,
    iter,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use vmalloc::{AllocError, BLOCK_PAGES, Frame, PAGE_SHIFT, PAGE_SIZE, Protection};

/// What `help floor` says.
pub const ABOUT: &str = "runs the least that mapping and unmapping takes, to compare test_vmalloc with\n\
    nr_pages  page table entries of a loop, 1 to 512 (1)\n\
    loops     loops (1000000)\n\
    frames    1: each frame is popped from a stack and pushed back, 0: they stay the caller's (1)\n\
    touch     1: each loop writes to a page that is not in the TLB (0)";

/// Pages that are touched one after the other: as many as benchmark cases free before all is flushed, about.
const TOUCHED: usize = 16384;

/// Present, writable, accessed, dirty, not executable.
const ATTRIBUTES: u64 = 1 << 63 | 0x63;
const FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong.
pub fn command(arguments: &[&str]) -> Result<(), CommandError> {
    let (mut pages, mut loops, mut owned, mut touch) = (1, 1_000_000, true, false);
    for word in arguments {
        let (name, value) = assignment(word)?;
        match name {
            "nr_pages" if (1..=BLOCK_PAGES as u64).contains(&value) => pages = value as usize,
            "nr_pages" => {
                return Err(CommandError::new(format!("{word}: not a number from 1 to {BLOCK_PAGES}")));
            }
            "loops" => loops = value,
            "frames" => owned = flag(word, value)?,
            "touch" => touch = flag(word, value)?,
            _ => return Err(CommandError::new(format!("{name}: no such parameter"))),
        }
    }
    let table: Vec<AtomicU64> = (0..pages).map(|_| AtomicU64::new(0)).collect();
    // Their addresses, not in order, as they come after some use.
    let mut frames: Vec<u64> = (0..pages as u64).rev().map(|frame| (frame + 1) << PAGE_SHIFT).collect();
    // Nothing is known of them at compile time.
    let (table, frames) = (black_box(&table[..]), black_box(&mut frames[..]));
    let window = touch.then(Window::new).transpose();
    let window = window.map_err(|error| CommandError::new(format!("touch=1: {error}")))?;
    let start = tsc::now();
    match window {
        Some(window) => run(table, frames, loops, owned, |count| window.touch(count)),
        None => run(table, frames, loops, owned, |_| ()),
    }
    let usec = tsc::microseconds(tsc::since(start));
    println!("Summary: floor passed: 1 failed: 0 xfailed: 0 repeat: 1 loops: {loops} avg: {usec} usec");
    Ok(())
}

/// The loops, each after a `touch` that is told its number.
#[inline(always)]
fn run(table: &[AtomicU64], frames: &mut [u64], loops: u64, owned: bool, touch: impl Fn(u64)) {
    for count in 0..loops {
        touch(count);
        map(table, frames);
        if owned {
            unmap(table, frames);
        } else {
            clear(table);
        }
    }
}

/// One frame, mapped to many pages.
struct Window {
    frame: Frame,
    pages: NonNull<u8>,
}

impl Window {
    fn new() -> Result<Self, AllocError> {
        let mut list = reserve(TOUCHED)?;
        let mut frame = None;
        reclaim::take(1, |taken| frame = Some(taken));
        let frame = frame.ok_or_else(|| frames::shortage(1))?;
        list.resize(TOUCHED, frame);
        let pages = memory::vmalloc().vmap(&list, Protection::ReadWrite);
        // SAFETY: it was just taken, and is mapped nowhere.
        let pages = pages.inspect_err(|_| unsafe { frames::give(iter::once(frame)) })?;
        Ok(Self { frame, pages })
    }

    /// Writes to the next page.
    #[inline(always)]
    fn touch(&self, count: u64) {
        let page = count as usize % TOUCHED;
        if page == 0 {
            tlb::flush_here();
        }
        // SAFETY: the page is one of the window's, and the frame belongs to it.
        unsafe { self.pages.byte_add(page * PAGE_SIZE).write_volatile(1) };
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: nobody uses the pages any more.
        let unmapped = unsafe { memory::vmalloc().vunmap(self.pages) };
        if let Err(error) = unmapped {
            panic!("what was mapped cannot be unmapped: {error}");
        }
        memory::vmalloc().vm_unmap_aliases();
        // SAFETY: `new` took it, and no CPU has a translation to it any more.
        unsafe { frames::give(iter::once(self.frame)) };
    }
}

#[inline(always)]
fn map(table: &[AtomicU64], frames: &[u64]) {
    for (entry, frame) in table.iter().zip(frames) {
        entry.store(frame | ATTRIBUTES, Ordering::Relaxed);
    }
}

#[inline(always)]
fn unmap(table: &[AtomicU64], frames: &mut [u64]) {
    for (entry, frame) in table.iter().zip(frames) {
        *frame = entry.load(Ordering::Relaxed) & FRAME_MASK;
        entry.store(0, Ordering::Relaxed);
    }
}

#[inline(always)]
fn clear(table: &[AtomicU64]) {
    for entry in table {
        entry.store(0, Ordering::Relaxed);
    }
}
