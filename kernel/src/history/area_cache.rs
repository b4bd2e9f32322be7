//! Searching for address space while lazily freed areas pile up: the thread of 2010, in which each search
//! began at the lowest address and walked all of them.

use super::common::failed;
use crate::{
    arch::tsc,
    command::CommandError,
    println,
    services::{Experiment, flushing},
};
use alloc::{format, vec::Vec};
use core::{ptr::NonNull, sync::atomic::Ordering};
use vmalloc::{BLOCK_SIZE, PAGE_SIZE, Policy, Request, SearchPolicy};

/// Lazily freed areas.
const PILES: [usize; 6] = [1000, 2000, 4000, 8000, 16_000, 32_000];
/// Allocations measured, also lazily freed.
const MEASURED: usize = 1000;
/// More than this, in tenths, a search with the cached start must not take.
const FEW_STEPS: u64 = 40;

/// What allocations cost, on the average, and where they lie.
struct Cost {
    /// In tenths.
    steps: u64,
    cycles: u64,
    places: Vec<usize>,
}

pub(super) fn run() -> Result<(), CommandError> {
    println!("per allocation, over {MEASURED}; under --icount=SHIFT an instruction takes 2^SHIFT cycles");
    println!("{:>8} | {:^24} | {:^24} |", "", "search from the start", "cached search start");
    println!("{:>8} | {:>10} {:>13} | {:>10} {:>13} | places", "pile", "steps", "cycles", "steps", "cycles");
    let mut before = 0;
    for pile in PILES {
        let from_start = flushing().search(SearchPolicy::FromStart);
        let old = measure(pile, from_start)?;
        let new = measure(pile, flushing())?;
        let equal = old.places == new.places;
        println!(
            "{pile:>8} | {:>8}.{} {:>13} | {:>8}.{} {:>13} | {}",
            old.steps / 10,
            old.steps % 10,
            old.cycles,
            new.steps / 10,
            new.steps % 10,
            new.cycles,
            if equal { "equal" } else { "DIFFERENT" }
        );
        if !equal || new.steps > FEW_STEPS || old.steps <= before {
            return Err(CommandError::new(format!("{pile} areas: not as it has to be")));
        }
        before = old.steps;
    }
    Ok(())
}

/// Allocates and frees areas of a block each, so that every one asks the arena, while none is purged.
fn measure(pile: usize, policy: Policy) -> Result<Cost, CommandError> {
    let vmalloc = Experiment::new(pile + 2 * MEASURED, policy).map_err(failed)?;
    vmalloc.tunables().lazy_max_pages.store(usize::MAX >> 2, Ordering::Relaxed);
    let request = Request::new(PAGE_SIZE).align(BLOCK_SIZE);
    let mut areas: Vec<NonNull<u8>> = Vec::new();
    areas.try_reserve_exact(pile.max(MEASURED)).map_err(failed)?;
    // All live at once, so that they lie one behind the other; then all freed lazily.
    let fill = |areas: &mut Vec<NonNull<u8>>, count: usize| {
        for _ in 0..count {
            areas.push(vmalloc.allocate(request).map_err(failed)?);
        }
        Ok::<(), CommandError>(())
    };
    let drain = |areas: &mut Vec<NonNull<u8>>| {
        // SAFETY: nobody uses the areas.
        areas.drain(..).try_for_each(|area| unsafe { vmalloc.vfree(area) }).map_err(failed)
    };
    let made = fill(&mut areas, pile);
    drain(&mut areas)?;
    made?;
    let (steps, start) = (vmalloc.tally().search_steps, tsc::now());
    let made = fill(&mut areas, MEASURED);
    let (steps, cycles) = (vmalloc.tally().search_steps - steps, tsc::since(start));
    let places = areas.iter().map(|area| area.as_ptr() as usize).collect();
    drain(&mut areas)?;
    made?;
    Ok(Cost { steps: 10 * steps / MEASURED as u64, cycles: cycles / MEASURED as u64, places })
}
