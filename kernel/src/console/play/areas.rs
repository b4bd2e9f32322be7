//! `vmalloc`, `vmap` and `vfree`: areas that a person makes and frees.

use super::parse_address;
use crate::{command::CommandError, lock_class, memory, println, services::Frames, sync::SpinLock};
use alloc::{boxed::Box, format};
use core::ptr::NonNull;
use vmalloc::Protection;

pub(in crate::console) const VMALLOC: &str = "allocates an area and prints its address; SIZE is in bytes, or ends in K, M or G\n\
    It stays until vfree ADDRESS.";
pub(in crate::console) const VMAP: &str = "maps PAGES frames of its own side by side and prints the address\n\
    They stay until vfree ADDRESS.";
pub(in crate::console) const VFREE: &str = "frees an area that vmalloc or vmap made here\n\
    The kernel's own areas are left alone.";

/// Pages of a mapping, at the most.
const MOST_PAGES: usize = 1 << 18;

/// What was made by hand.
static MADE: SpinLock<List> = SpinLock::new(lock_class!("areas made by hand"), None);

/// A list that is changed under a lock, where nobody allocates: who adds to it brings the memory along.
type List = Option<Box<Made>>;

struct Made {
    start: usize,
    /// The frames of a mapping.
    frames: Option<Frames>,
    next: List,
}

/// Allocates an area.
///
/// # Errors
/// The line names the size that is wrong, or says why there is no area.
pub fn vmalloc(arguments: &[&str]) -> Result<(), CommandError> {
    let [word] = arguments else { return Err(CommandError::new("takes one argument: a size")) };
    let size = parse_size(word).ok_or_else(|| {
        CommandError::new(format!("{word}: not a number of bytes, such as 5000, 64K or 2M"))
    })?;
    let area =
        memory::vmalloc().vmalloc(size).map_err(|error| CommandError::new(format!("{word}: {error}")))?;
    keep(area, None);
    Ok(())
}

/// Maps frames.
///
/// # Errors
/// The line names the number that is wrong, or says why there is no mapping.
pub fn vmap(arguments: &[&str]) -> Result<(), CommandError> {
    let [word] = arguments else { return Err(CommandError::new("takes one argument: a number of pages")) };
    let pages =
        word.parse().ok().filter(|pages| (1..=MOST_PAGES).contains(pages)).ok_or_else(|| {
            CommandError::new(format!("{word}: not a number of pages from 1 to {MOST_PAGES}"))
        })?;
    let failed = |error: &dyn core::fmt::Display| CommandError::new(format!("{word}: {error}"));
    let frames = Frames::take(pages).map_err(|error| failed(&error))?;
    let area = memory::vmalloc().vmap(&frames, Protection::ReadWrite).map_err(|error| failed(&error))?;
    keep(area, Some(frames));
    Ok(())
}

/// Frees what one of the other two made.
///
/// # Errors
/// The line says what is at the address, if it is none of theirs.
pub fn vfree(arguments: &[&str]) -> Result<(), CommandError> {
    let [word] = arguments else { return Err(CommandError::new("takes one argument: an address")) };
    let address = parse_address(word)?;
    let vmalloc = memory::vmalloc();
    let Some(made) = forget(address) else {
        let line =
            format!("{word}: nothing that vmalloc or vmap made here: it is {}", vmalloc.whatis(address));
        return Err(CommandError::new(line.lines().next().unwrap_or_default()));
    };
    let Made { start, frames, .. } = *made;
    let Some(area) = NonNull::new(start as *mut u8) else { unreachable!("no area is at zero") };
    // SAFETY: it was made here, and is in no list any more. Who plays does not use it.
    let freed = unsafe {
        match frames {
            Some(_) => vmalloc.vunmap(area),
            None => vmalloc.vfree(area),
        }
    };
    if frames.is_some() {
        // Before the frames are others'.
        vmalloc.vm_unmap_aliases();
    }
    freed.map_err(|error| CommandError::new(format!("{error}")))
}

fn keep(area: NonNull<u8>, frames: Option<Frames>) {
    let start = area.as_ptr() as usize;
    let mut made = Box::new(Made { start, frames, next: None });
    {
        let mut list = MADE.lock();
        made.next = list.take();
        *list = Some(made);
    }
    println!("{start:#x}");
}

/// Takes what starts at an address out of the list.
fn forget(start: usize) -> Option<Box<Made>> {
    let mut list = MADE.lock();
    let mut link = &mut *list;
    while link.as_ref().is_some_and(|made| made.start != start) {
        link = &mut link.as_mut()?.next;
    }
    let mut made = link.take()?;
    *link = made.next.take();
    Some(made)
}

/// Reads a number of bytes, with a suffix or without.
fn parse_size(word: &str) -> Option<usize> {
    let (digits, shift) = match word.as_bytes().last()? {
        b'K' | b'k' => (&word[..word.len() - 1], 10),
        b'M' | b'm' => (&word[..word.len() - 1], 20),
        b'G' | b'g' => (&word[..word.len() - 1], 30),
        _ => (word, 0),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}
