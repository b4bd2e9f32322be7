//! Pages that a guard page behind each block costs: the thread of 2011, in which a file system could map
//! no more buffers though half of the range was free.

use super::common::failed;
use crate::{
    arch::paging::direct_map,
    command::CommandError,
    println,
    services::{Experiment, Frames, flushing},
};
use alloc::{format, vec::Vec};
use core::ptr::NonNull;
use vmalloc::{BLOCK_PAGES, GuardPolicy, PAGE_SIZE, Policy, Protection};

/// 120 MiB, as a 32-bit Linux has.
const BLOCKS: usize = 60;
/// Frames that the mappings show, each with its number in it.
const SHOWN: usize = 64;
/// Pages of the one longer mapping.
const LONGER: usize = 128;

pub(super) fn run() -> Result<(), CommandError> {
    let frames = Frames::take(SHOWN).map_err(failed)?;
    for (number, &frame) in frames.iter().enumerate() {
        // SAFETY: the frame is ours, and the direct map shows it.
        unsafe { direct_map::pointer(frame).cast::<u64>().write(number as u64) };
    }
    let all = BLOCKS * BLOCK_PAGES;
    println!("single pages by vm_map_ram, until the range of {all} pages is full");
    println!("{:34} {:>12} {:>12} {:>12}", "", "mapped", "read right", "mapped again");
    let behind_blocks = flushing().guards(GuardPolicy::BehindBlocks);
    for (name, policy, longer, expected) in [
        ("a guard page behind each block", behind_blocks, 0, all / 2),
        ("packed", flushing(), 0, all),
        ("packed, with one of 128 pages", flushing(), LONGER, all - LONGER),
    ] {
        let [mapped, right, again] = fill(&frames, policy, longer)?;
        println!("{name:34} {mapped:>12} {right:>12} {again:>12}");
        if [mapped, right, again] != [expected; 3] {
            return Err(CommandError::new(format!("{name}: {expected} pages were expected")));
        }
    }
    Ok(())
}

/// Maps single pages beside a longer mapping until there is no room, reads them back, unmaps them, and maps
/// as many again without a purge asked for: how many in each case.
fn fill(frames: &Frames, policy: Policy, longer: usize) -> Result<[usize; 3], CommandError> {
    let vmalloc = Experiment::new(BLOCKS, policy).map_err(failed)?;
    // All can be unmapped without a purge.
    vmalloc.tunables().lazy_max_pages.store(2 * BLOCKS * BLOCK_PAGES, core::sync::atomic::Ordering::Relaxed);
    let mut long_list = Vec::new();
    long_list.try_reserve_exact(longer).map_err(failed)?;
    long_list.extend(frames.iter().copied().cycle().take(longer));
    let mut starts: Vec<NonNull<u8>> = Vec::new();
    starts.try_reserve_exact(BLOCKS * BLOCK_PAGES + 1).map_err(failed)?;
    let long = match longer {
        0 => None,
        _ => Some(vmalloc.vm_map_ram(&long_list, Protection::ReadOnly).map_err(failed)?),
    };
    let mut counts = [0; 3];
    for (turn, count) in [0, 2].into_iter().enumerate() {
        // One more is tried than there can be.
        for number in 0..=BLOCKS * BLOCK_PAGES {
            let frame = frames[number % SHOWN];
            let Ok(start) = vmalloc.vm_map_ram(&[frame], Protection::ReadOnly) else { break };
            starts.push(start);
        }
        counts[count] = starts.len();
        if turn == 0 {
            counts[1] = starts.iter().enumerate().filter(|&(number, &start)| reads(start, number)).count();
        }
        for start in starts.drain(..) {
            // SAFETY: nobody else knows the mapping.
            unsafe { vmalloc.vm_unmap_ram(start, 1) }.map_err(failed)?;
        }
    }
    if let Some(start) = long {
        let right = (0..longer).all(|page| {
            // SAFETY: the page lies in the mapping.
            reads(unsafe { start.byte_add(page * PAGE_SIZE) }, page)
        });
        if !right {
            return Err(CommandError::new("the longer mapping was overwritten"));
        }
        // SAFETY: nobody else knows the mapping.
        unsafe { vmalloc.vm_unmap_ram(start, longer) }.map_err(failed)?;
    }
    vmalloc.vm_unmap_aliases();
    Ok(counts)
}

/// Whether the page that was mapped `number`-th shows the frame it has to.
fn reads(start: NonNull<u8>, number: usize) -> bool {
    // SAFETY: the page is mapped, and nobody writes it.
    unsafe { start.cast::<u64>().read_volatile() == (number % SHOWN) as u64 }
}
