//! Freeing the page tables of a large range that is no longer mapped: the thread of 2007, in which a list of
//! all tables held up the machine, or found no memory for itself.

use super::common::{failed, metered};
use crate::{
    arch::{cpu, tlb, tsc},
    command::CommandError,
    memory::Hoard,
    println,
    services::{Experiment, flushing},
};
use alloc::{format, vec::Vec};
use core::{ptr::NonNull, sync::atomic::Ordering};
use vmalloc::{AllocError, BLOCK_SIZE, GatherPolicy, PAGE_SIZE, Policy, PurgePolicy, Request};

/// GiB of address space, each with some blocks in which one page is mapped.
const GIB: usize = 48;
const BLOCKS_OF_EACH: usize = 100;
const BLOCKS_IN_GIB: usize = (1 << 30) / BLOCK_SIZE;
/// Times shorter that pieces must be than all at once.
const SHORTER: u64 = 50;

pub(super) fn run() -> Result<(), CommandError> {
    println!(
        "{GIB} GiB of address space, {} blocks with a page each: their page tables go",
        GIB * BLOCKS_OF_EACH
    );
    println!("{:34} {:>8} {:>8} {:>28}", "", "tables", "flushes", "longest with preemption off");
    let policy = |gather, purge| flushing().gather(gather).purge(purge);
    let (piecewise, unbroken) = (PurgePolicy::Threshold, PurgePolicy::Unbroken);
    let all = free("all at once", policy(GatherPolicy::Page, unbroken), false)?;
    for (name, gather, exhausted) in [
        ("in batches on a page", GatherPolicy::Page, false),
        ("in batches of 8 on the stack", GatherPolicy::Stack, false),
        ("one at a time", GatherPolicy::One, false),
        ("no frame is free", GatherPolicy::Page, true),
    ] {
        let longest = free(name, policy(gather, piecewise), exhausted)?;
        // Time means little where others may run meanwhile.
        if cpu::online_count() == 1 && longest * SHORTER > all {
            return Err(CommandError::new(format!("{name}: not {SHORTER} times shorter")));
        }
    }
    Ok(())
}

/// Cycles of the longest section.
fn free(name: &str, policy: Policy, exhausted: bool) -> Result<u64, CommandError> {
    let instance = Experiment::new((GIB + 1) * BLOCKS_IN_GIB, policy).map_err(failed)?;
    instance.tunables().lazy_max_pages.store(usize::MAX >> 2, Ordering::Relaxed);
    let before = instance.stats().table_frames();
    let start = instance.range().start;
    let mut areas: Vec<NonNull<u8>> = Vec::new();
    areas.try_reserve_exact(GIB * BLOCKS_OF_EACH).map_err(failed)?;
    let filled = (0..GIB * BLOCKS_OF_EACH).try_for_each(|number| {
        let within = start + number / BLOCKS_OF_EACH * (1 << 30);
        areas.push(instance.allocate(Request::new(PAGE_SIZE).within(within, within + (1 << 30)))?);
        Ok::<_, AllocError>(())
    });
    let tables = instance.stats().table_frames() - before;
    // SAFETY: nobody uses the areas.
    areas.drain(..).try_for_each(|area| unsafe { instance.vfree(area) }).map_err(failed)?;
    filled.map_err(failed)?;
    let hoard = exhausted.then(|| Hoard::take(usize::MAX));
    let before_purge = full_flushes();
    let (_, longest) = metered(|| instance.purge());
    let flushes = full_flushes().saturating_sub(before_purge);
    drop(hoard);
    let cycles = longest.map_or(0, |section| section.cycles);
    println!("{name:34} {tables:>8} {flushes:>8} {:>17} cycles ({} us)", cycles, tsc::microseconds(cycles));
    let left = instance.stats();
    if left.table_frames() > before + left.reserved_tables {
        return Err(CommandError::new(format!(
            "{name}: {} page tables are left",
            left.table_frames() - before
        )));
    }
    Ok(cycles)
}

/// Full flushes of the CPU this runs on.
fn full_flushes() -> u64 {
    tlb::counters(cpu::current()).full.load(Ordering::Relaxed)
}
