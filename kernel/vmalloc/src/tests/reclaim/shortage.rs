//! Allocations that run out of address space or frames: how often they try again, what a refusal costs, and that
//! every call ends.

extern crate std;

use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SIZE, Cache, CongruentArea, CongruentError, PAGE_SIZE, Platform,
    PopulateError, ProtectError, Protection, PurgeNotifier, ReallocError, Request, Returned, Vmalloc,
    areas::{Attempt, Needs},
    tests::{
        machine::{Machine, Moment},
        support::{
            Instance, address, flushing, free, instance, leaked, map_ram, populate, protect, resize, take,
            unmap,
        },
    },
};
use core::{panic::Location, ptr::NonNull};
use std::{
    boxed::Box,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    vec::Vec,
};

/// What a call costs: attempts that were made again, purges, and frames that were taken.
fn cost(machine: &Machine, vmalloc: &Vmalloc<&Machine>, call: impl FnOnce()) -> (u64, u64, usize) {
    let (tally, taken) = (vmalloc.tally(), machine.frames_taken());
    call();
    let after = vmalloc.tally();
    (after.retries - tally.retries, after.purges - tally.purges, machine.frames_taken() - taken)
}

/// A request that cannot be met: nothing is tried for which there are too few frames, and nobody purges for long.
/// Seen failing (16 attempts) when each attempt that fails is followed by another one, and (16000 frames taken) when they
/// are made without a check of how many frames there are.
#[test]
fn a_request_that_cannot_be_met_is_soon_refused() {
    const FRAMES: usize = 8000;
    let machine = Machine::new(2, FRAMES);
    let vmalloc = flushing(&machine, 64);
    let refused = |pages: usize| {
        let refusal = || {
            assert_eq!(
                vmalloc.vmalloc(pages * PAGE_SIZE).map_err(AllocError::reason),
                Err(AllocError::NO_FRAMES)
            )
        };
        cost(&machine, &vmalloc, refusal)
    };
    assert_eq!(refused(FRAMES + 1), (0, 0, 0), "there never were as many");
    // But for tables there are as many. A frame is taken to write down directories that could go, and one for the CPU's
    // record.
    let spent = refused(FRAMES - 20);
    assert!(spent <= (0, 0, 2), "nothing waits, nothing is kept: {spent:?}");
    for cpu in [1, 0] {
        machine.run_on(cpu);
        for pages in [1, 200, 600, 5000] {
            let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
            free(&vmalloc, area).expect("allocated");
        }
        // Whatever is cached, and on which CPU: one flush for what waits, one for the tables of what was cached.
        let (retries, purges, taken) = refused(FRAMES - 20);
        assert!(retries <= 1 && purges <= 2, "{retries} attempts again, {purges} purges");
        assert!(taken <= 2, "{taken} frames");
        assert!(refused(FRAMES - 20) <= (0, 0, 1), "and the next one costs nothing");
    }
    // For want of address space: after a purge, and after all was given back.
    let map = |blocks: usize| vmalloc.ioremap(1 << 32, blocks * BLOCK_SIZE, Cache::Uncached);
    let mapped = map(40).expect("room");
    let (retries, purges, _) = cost(&machine, &vmalloc, || {
        assert_eq!(map(30).map_err(AllocError::reason), Err(AllocError::NO_SPACE));
    });
    assert!(retries <= 2 && purges <= 3, "{retries} attempts again, {purges} purges");
    unmap(&vmalloc, mapped).expect("mapped");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// A request that cannot be met, on a machine that does not count its frames: what an attempt takes goes back at once,
/// without a flush.
/// Seen failing (17 purges) when blocks are linked before they are filled.
#[test]
fn without_a_count_of_frames_a_few_attempts_are_made() {
    let machine = Machine::new(2, 3000);
    machine.hide_free_frames();
    let vmalloc = instance(&machine, 64);
    for (pages, huge) in [(2990, false), (5000, false), (5000, true)] {
        let request = Request::new(pages * PAGE_SIZE);
        let request = if huge { request.huge() } else { request };
        // As many as there ever were: it is not known.
        let others = take(&machine, 2000);
        let flushes = machine.full_flushes();
        let (retries, purges, _) = cost(&machine, &vmalloc, || {
            assert_eq!(vmalloc.allocate(request).map_err(AllocError::reason), Err(AllocError::NO_FRAMES));
        });
        assert!(retries <= 2 && purges <= 1, "{pages} pages: {retries} attempts again, {purges} purges");
        assert_eq!(machine.full_flushes(), flushes, "no CPU reached anything");
        (&machine).give_frames(Returned::new(others.into_iter()));
        machine.check();
    }
    let all = machine.free_frames();
    vmalloc.trim();
    drop(vmalloc);
    assert!(all + 8 > 3000 - 8, "{all} frames were there at once");
    machine.assert_all_frames_back();
}

/// Every call that takes frames, with too few of them, on machines that count them and on others. What a failed attempt
/// had is back before it is asked whether others freed anything. Seen failing (17 attempts): growth, congruent areas and
/// populating when they map what they have before they have all. Seen failing (1201 frames) when the tables of growth are
/// not counted.
#[test]
fn every_call_that_runs_out_of_frames_is_soon_refused() {
    for hidden in [false, true] {
        let machine = Machine::new(2, 5000);
        if hidden {
            machine.hide_free_frames();
        }
        let vmalloc = instance(&machine, 32);
        let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        let run = vmalloc.vmalloc(600 * PAGE_SIZE).expect("room");
        // It cannot grow where it is.
        let stuck = vmalloc.vmalloc(600 * PAGE_SIZE).expect("room");
        let huge = vmalloc.allocate(Request::new(BLOCK_SIZE).huge()).expect("room");
        assert!(vmalloc.find_area(address(huge)).expect("made").huge_pages > 0);
        let congruent = |blocks: usize, pages: usize| CongruentArea {
            offset: blocks * BLOCK_SIZE,
            size: pages * PAGE_SIZE,
        };
        let areas = [congruent(0, 3), congruent(2, 700)];
        let set = vmalloc.allocate_congruent(&areas, 1).expect("room");
        let frames = take(&machine, 600);
        let refused = |made: Result<NonNull<u8>, AllocError>| {
            assert!(matches!(made, Err(AllocError::OutOfFrames { .. })), "{made:?}");
        };
        let stays = |area, pages| {
            let grown = resize(&vmalloc, area, pages);
            assert!(matches!(grown, Err(ReallocError::Size(AllocError::OutOfFrames { .. }))), "{grown:?}");
        };
        // With how many frames left.
        let calls: [(&str, usize, &dyn Fn()); 13] = [
            ("small", 20, &|| refused(vmalloc.vmalloc(100 * PAGE_SIZE))),
            ("run", 20, &|| refused(vmalloc.vmalloc(300 * PAGE_SIZE))),
            ("small growth", 20, &|| stays(area, 200)),
            ("small growth to a run", 20, &|| stays(area, 700)),
            ("growth", 20, &|| stays(run, 1200)),
            ("growth but for its table", 600, &|| stays(run, 1200)),
            ("growth elsewhere", 600, &|| stays(stuck, 1200)),
            ("vmap", 1, &|| refused(vmalloc.vmap(&frames, Protection::ReadWrite))),
            ("vm_map_ram", 0, &|| refused(map_ram(&vmalloc, &frames[..3]))),
            ("long vm_map_ram", 1, &|| refused(map_ram(&vmalloc, &frames))),
            ("congruent", 2, &|| {
                let made = vmalloc.allocate_congruent(&areas, 1);
                assert!(
                    matches!(made, Err(CongruentError::Refused(AllocError::OutOfFrames { .. }))),
                    "{made:?}"
                );
            }),
            ("populate", 300, &|| {
                let refused = populate(&vmalloc, set, 0..600);
                assert!(matches!(refused, Err(PopulateError::OutOfFrames { .. })), "{refused:?}");
            }),
            ("split", 0, &|| {
                let split = protect(&vmalloc, address(huge), 1, Protection::ReadOnly);
                assert!(matches!(split, Err(ProtectError::OutOfFrames)), "{split:?}");
            }),
        ];
        for (name, left, call) in calls {
            vmalloc.trim();
            let others = take(&machine, machine.free_frames() - left);
            let (retries, purges, taken) = cost(&machine, &vmalloc, call);
            assert!(hidden || taken <= left + 50, "{name}: {taken} frames, and {left} there were");
            assert!(retries <= 2 && purges <= 2, "{name}: {retries} attempts again, {purges} purges");
            machine.check();
            (&machine).give_frames(Returned::new(others.into_iter()));
        }
        // SAFETY: nobody else knows the set, none of whose pages is used.
        unsafe { vmalloc.free_congruent(set) }.expect("allocated");
        [area, run, stuck, huge].into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        (&machine).give_frames(Returned::new(frames.into_iter()));
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// While a request that cannot be met is refused, others find all frames where they were. Seen failing when it took what
/// there is before it gave up.
#[test]
fn a_request_that_cannot_be_met_takes_nothing_from_others() {
    let (machine, vmalloc) = leaked(2, 6000, 40);
    let area = vmalloc.vmalloc(5000 * PAGE_SIZE).expect("room");
    free(vmalloc, area).expect("allocated");
    let (refused, had) =
        (&*Box::leak(Box::new(AtomicUsize::new(0))), &*Box::leak(Box::new(AtomicUsize::new(0))));
    // Others allocate whenever it takes a table: for directories that it gives back, but for no block.
    machine.at_each(Moment::Table, move || {
        machine.run_on(1);
        match vmalloc.allocate(Request::new(400 * PAGE_SIZE).no_wait()) {
            Ok(area) => {
                had.fetch_add(1, Ordering::Relaxed);
                free(vmalloc, area).expect("allocated");
            }
            Err(_) => drop(refused.fetch_add(1, Ordering::Relaxed)),
        }
        machine.run_on(0);
    });
    assert_eq!(vmalloc.vmalloc(5990 * PAGE_SIZE).map_err(AllocError::reason), Err(AllocError::NO_FRAMES));
    assert!(had.load(Ordering::Relaxed) > 0, "nobody else came by");
    assert_eq!(refused.load(Ordering::Relaxed), 0);
}

/// Others take what each purge makes free, and free as much: there is address space all the time, once it is flushed. Who is
/// overtaken far too often is refused. Seen failing with one round.
#[test]
fn who_is_overtaken_purges_again() {
    for (of_frames, overtaken, fits) in [false, true].into_iter().flat_map(|of_frames| {
        [(0, true), (1, true), (2, true), (12, true), (100, false)]
            .map(|(overtaken, fits)| (of_frames, overtaken, fits))
    }) {
        let (machine, vmalloc) = leaked(2, 3000, if of_frames { 8 } else { 2 });
        vmalloc.tunables().lazy_max_pages.store(1 << 30, Ordering::Relaxed);
        vmalloc.set_trace(true);
        // Its block, so that it needs no table.
        vmalloc.vmalloc(PAGE_SIZE).expect("room");
        machine.run_on(1);
        let page = || vmalloc.allocate(Request::new(PAGE_SIZE).no_wait());
        let most = if of_frames { 500 } else { usize::MAX };
        let mut held: Vec<usize> = core::iter::from_fn(|| page().ok().map(address)).take(most).collect();
        if of_frames {
            take(machine, machine.free_frames());
        }
        let give = |start: usize| {
            free(vmalloc, NonNull::new(start as *mut u8).expect("an address")).expect("allocated");
        };
        give(held.pop().expect("some"));
        let left = AtomicUsize::new(overtaken);
        // The other CPU allocates one, and frees another: it never has more than it had.
        let moment = if of_frames { Moment::Count } else { Moment::Purged };
        machine.at_each(moment, move || {
            if left.load(Ordering::Relaxed) > 0 {
                machine.run_on(1);
                if let Ok(area) = page() {
                    left.fetch_sub(1, Ordering::Relaxed);
                    held.pop().into_iter().for_each(give);
                    held.push(address(area));
                }
                machine.run_on(0);
            }
        });
        machine.run_on(0);
        let made = vmalloc.vmalloc(PAGE_SIZE);
        assert_eq!(made.is_ok(), fits, "overtaken {overtaken} times: {made:?}");
        let tally = vmalloc.tally();
        assert!(tally.retries <= 18 && tally.purges <= 36, "{tally:?}");
        assert!(tally.purges > overtaken.min(12) as u64, "{tally:?}: nobody was faster");
    }
}

/// Frees an area each time a CPU flushes everything, on another CPU: so something waits whenever a purge is over.
fn free_for_ever(machine: &'static Machine, vmalloc: &'static Instance, limit: usize) {
    let rounds = AtomicUsize::new(0);
    vmalloc.tunables().single_page_flush_ceiling.store(0, Ordering::Relaxed);
    machine.at_each(Moment::Flush, move || {
        assert!(rounds.fetch_add(1, Ordering::Relaxed) < limit, "it flushed {limit} times and goes on");
        machine.run_on(1);
        let area = vmalloc.allocate(Request::new(PAGE_SIZE).no_wait()).expect("room");
        free(vmalloc, area).expect("allocated");
        machine.run_on(0);
    });
}

/// Seen failing when a trim purges until nothing waits.
#[test]
fn a_trim_ends_while_others_free() {
    let (machine, vmalloc) = leaked(2, 4000, 8);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    free(vmalloc, area).expect("allocated");
    free_for_ever(machine, vmalloc, 40);
    vmalloc.trim();
}

/// The request cannot be met, though others free all the time. Seen failing with 60 rounds; and with a round made
/// whenever others have freed, though that many frames could not do.
#[test]
fn a_refusal_comes_while_others_free() {
    for (size, error) in
        [(2900 * PAGE_SIZE, AllocError::NO_FRAMES), (8 * BLOCK_SIZE - PAGE_SIZE, AllocError::NO_SPACE)]
    {
        let frames = if error == AllocError::NO_FRAMES { 3000 } else { 9000 };
        let (machine, vmalloc) = leaked(2, frames, 8);
        let held = vmalloc.vmalloc(200 * PAGE_SIZE).expect("room");
        // Something waits, so that there is a first flush.
        free(vmalloc, vmalloc.vmalloc(PAGE_SIZE).expect("room")).expect("allocated");
        free_for_ever(machine, vmalloc, 400);
        assert_eq!(vmalloc.vmalloc(size).map_err(AllocError::reason), Err(error));
        let tally = vmalloc.tally();
        assert!(tally.retries <= 20 && tally.purges <= 40, "{tally:?}");
        let is_counted = error == AllocError::NO_FRAMES;
        assert!(!is_counted || tally.retries <= 2 && tally.purges <= 4, "{tally:?}");
        free(vmalloc, held).expect("allocated");
    }
}

/// A thread that purges was put off this CPU, and code that may not wait runs there. Seen hanging when a trim, and an
/// allocation after it has asked the notifiers, purge until nothing waits.
#[test]
fn who_may_not_wait_does_not_spin_for_who_has_the_turn() {
    struct Frees(Mutex<Vec<usize>>, &'static Instance);
    impl PurgeNotifier for Frees {
        fn purge(&self, _: AllocError) -> bool {
            let area = self.0.lock().expect("no panic").pop().and_then(|area| NonNull::new(area as *mut u8));
            area.is_some_and(|area| free(self.1, area).is_ok())
        }
    }
    let (machine, vmalloc) = leaked(1, 4000, 1);
    let areas: Vec<_> = core::iter::from_fn(|| vmalloc.allocate(Request::new(PAGE_SIZE).no_wait()).ok())
        .map(address)
        .collect();
    assert_eq!(areas.len(), BLOCK_PAGES / 2);
    let notifier = Box::leak(Box::new(Frees(Mutex::new(areas), vmalloc)));
    assert!(vmalloc.register_notifier(notifier));
    vmalloc.reclaim().in_turn(Location::caller(), || {
        machine.refuse_pause(true);
        assert_eq!(vmalloc.vmalloc(PAGE_SIZE).map_err(AllocError::reason), Err(AllocError::NO_SPACE));
        vmalloc.trim();
        vmalloc.vm_unmap_aliases();
        assert_eq!(vmalloc.purge(), 0);
        machine.refuse_pause(false);
    });
    // The notifier freed one page, and its guard page.
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("a purge makes room");
    free(vmalloc, area).expect("allocated");
}

/// A CPU that reads, writes or speculates sees nothing of a run that could not be made: its tables are linked last.
/// Seen failing (blocks wait for a flush) when they are linked before they are filled.
#[test]
fn a_run_that_could_not_be_made_leaves_nothing_behind() {
    for (pages, huge) in [(600, false), (1500, false), (1500, true)] {
        for allowance in [1, 2, 5, 100, 513, 515] {
            let machine = Machine::new(2, 6000);
            let vmalloc = instance(&machine, 6);
            let request = Request::new(pages * PAGE_SIZE).no_wait();
            let request = if huge { request.huge() } else { request };
            machine.fail_after(allowance);
            let made = vmalloc.allocate(request);
            machine.never_fail();
            let used = if made.is_ok() { (pages + 1).div_ceil(BLOCK_PAGES) } else { 0 };
            assert_eq!((vmalloc.stats().free, vmalloc.stats().lazy), ((6 - used) * BLOCK_PAGES, 0));
            made.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
            assert!(huge || made.is_err(), "{pages} pages of {allowance} frames");
            drop(vmalloc);
            machine.assert_all_frames_back();
        }
    }
}

/// Another attempt holds the address space that is looked for, fails for want of frames, and gives it back: nothing of it
/// waits for a flush. Seen failing (refused, though nothing is allocated) when only what waits is asked for.
#[test]
fn what_an_attempt_of_others_held_is_not_missed() {
    let (machine, vmalloc) = leaked(2, 3000, 5);
    machine.hide_free_frames();
    vmalloc.vmalloc(PAGE_SIZE).expect("room, and for the records of the other blocks");
    let others = take(machine, machine.free_frames() - 900);
    let attempt = move || vmalloc.blocks().open(0, 2, 1, None);
    let stood = &*Box::leak(Box::new(AtomicUsize::new(0)));
    let is_last = &*Box::leak(Box::new(AtomicBool::new(false)));
    machine.at_each(Moment::Table, move || {
        if stood.load(Ordering::Relaxed) == 0 && is_last.load(Ordering::Relaxed) {
            assert_eq!(attempt().map_err(AllocError::reason), Err(AllocError::NO_SPACE));
            stood.fetch_add(1, Ordering::Relaxed);
        }
    });
    let rounds = AtomicUsize::new(0);
    let made = vmalloc.reclaim().make(
        || Needs::pages(1, 0, Location::caller()),
        |which| {
            if which == Attempt::Usual {
                return Err(AllocError::NO_SPACE);
            }
            if rounds.fetch_add(1, Ordering::Relaxed) > 0 {
                return attempt();
            }
            is_last.store(true, Ordering::Relaxed);
            // While it has three of the four blocks, two are looked for.
            let other = vmalloc.allocate(Request::new(1200 * PAGE_SIZE).no_wait());
            assert_eq!(other.map_err(AllocError::reason), Err(AllocError::NO_FRAMES));
            Err(AllocError::NO_SPACE)
        },
    );
    assert_eq!(stood.load(Ordering::Relaxed), 1, "the other attempt was not in the way");
    let first = made.expect("nothing is allocated");
    vmalloc.blocks().give_back(first, 2);
    (&machine).give_frames(Returned::new(others.into_iter()));
}
