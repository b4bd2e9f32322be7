//! What is done when there is no room: how often it is tried, what a refusal costs, and that every call ends.

extern crate std;

use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SIZE, Cache, PAGE_SIZE, Platform, PurgeNotifier, Request, Vmalloc,
    sim::{Machine, Moment},
    tests::{address, free, instance},
    tests_calls::{resize, take, unmap},
};
use core::ptr::NonNull;
use std::{
    boxed::Box,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    vec::Vec,
};

type Instance = Vmalloc<&'static Machine>;

/// A machine and an instance that others can use while a call of a test lasts; they stay.
fn leaked(cpus: usize, frames: usize, blocks: usize) -> (&'static Machine, &'static Instance) {
    let machine: &_ = Box::leak(Box::new(Machine::new(cpus, frames)));
    (machine, Box::leak(Box::new(instance(machine, blocks))))
}

/// What a call costs: attempts that were made again, purges, and frames that were taken.
fn cost(machine: &Machine, vmalloc: &Vmalloc<&Machine>, call: impl FnOnce()) -> (u64, u64, usize) {
    let (tally, taken) = (vmalloc.tally(), machine.frames_taken());
    call();
    let after = vmalloc.tally();
    (after.retries - tally.retries, after.purges - tally.purges, machine.frames_taken() - taken)
}

/// A request that cannot be met: nothing is tried for which there are too few frames, and nobody purges for long.
/// Seen failing (16 attempts) when each attempt that fails is followed by another one, and (16000 frames taken) when they
/// are made without a look at how many frames there are.
#[test]
fn a_request_that_cannot_be_met_is_soon_refused() {
    const FRAMES: usize = 8000;
    let machine = Machine::new(2, FRAMES);
    let vmalloc = instance(&machine, 64);
    let refused = |pages: usize| {
        let refusal = || assert_eq!(vmalloc.vmalloc(pages * PAGE_SIZE), Err(AllocError::OutOfFrames));
        cost(&machine, &vmalloc, refusal)
    };
    assert_eq!(refused(FRAMES + 1), (0, 0, 0), "there never were as many");
    // But for tables there are as many. A frame is taken to write down directories that could go.
    assert!(refused(FRAMES - 10) <= (0, 0, 1), "nothing waits, nothing is kept");
    for cpu in [1, 0] {
        machine.run_on(cpu);
        for pages in [1, 200, 600, 5000] {
            let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
            free(&vmalloc, area).expect("allocated");
        }
        // Whatever is kept, and on which CPU: one flush for what waits, one for the tables of what was kept.
        let (retries, purges, taken) = refused(FRAMES - 10);
        assert!(retries <= 1 && purges <= 2, "{retries} attempts again, {purges} purges");
        assert!(taken <= 2, "{taken} frames");
        assert!(refused(FRAMES - 10) <= (0, 0, 1), "and the next one costs nothing");
    }
    // For want of address space: after a purge, and after all was given back.
    let map = |blocks: usize| vmalloc.ioremap(1 << 32, blocks * BLOCK_SIZE, Cache::Uncached);
    let mapped = map(40).expect("room");
    let (retries, purges, _) = cost(&machine, &vmalloc, || {
        assert_eq!(map(30), Err(AllocError::OutOfAddressSpace));
    });
    assert!(retries <= 2 && purges <= 3, "{retries} attempts again, {purges} purges");
    unmap(&vmalloc, mapped).expect("mapped");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// The same on a machine that does not count its frames: what an attempt takes goes back at once, without a flush.
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
            assert_eq!(vmalloc.allocate(request), Err(AllocError::OutOfFrames));
        });
        assert!(retries <= 2 && purges <= 1, "{pages} pages: {retries} attempts again, {purges} purges");
        assert_eq!(machine.full_flushes(), flushes, "no CPU reached anything");
        (&machine).give_frames(others.into_iter());
        machine.check();
    }
    let all = machine.free_frames();
    vmalloc.trim();
    drop(vmalloc);
    assert!(all + 8 > 3000 - 8, "{all} frames were there at once");
    machine.assert_all_frames_back();
}

/// Small areas, growth, and all else that takes frames, to the last one. Growth that fails leaves what waits for a flush,
/// so without a count of frames it is tried for as long as others could have left it. Seen failing (17 attempts) when
/// attempts are made for which there are too few frames.
#[test]
fn every_call_that_runs_out_of_frames_is_soon_refused() {
    for hidden in [false, true] {
        let machine = Machine::new(2, 2000);
        if hidden {
            machine.hide_free_frames();
        }
        let vmalloc = instance(&machine, 32);
        let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        let run = vmalloc.vmalloc(600 * PAGE_SIZE).expect("room");
        let others = take(&machine, machine.free_frames() - 20);
        let calls: [(&str, &dyn Fn()); 4] = [
            ("small", &|| assert_eq!(vmalloc.vmalloc(100 * PAGE_SIZE), Err(AllocError::OutOfFrames))),
            ("run", &|| assert_eq!(vmalloc.vmalloc(300 * PAGE_SIZE), Err(AllocError::OutOfFrames))),
            ("small growth", &|| assert!(resize(&vmalloc, area, 200).is_err())),
            ("growth", &|| assert!(resize(&vmalloc, run, 1200).is_err())),
        ];
        for (name, call) in calls {
            let (retries, purges, _) = cost(&machine, &vmalloc, call);
            let most = if hidden { 17 } else { 2 };
            assert!(
                retries <= most && purges <= 2 * most,
                "{name}: {retries} attempts again, {purges} purges"
            );
            machine.check();
        }
        (&machine).give_frames(others.into_iter());
        [area, run].into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
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
    assert_eq!(vmalloc.vmalloc(5990 * PAGE_SIZE), Err(AllocError::OutOfFrames));
    assert!(had.load(Ordering::Relaxed) > 0, "nobody else came by");
    assert_eq!(refused.load(Ordering::Relaxed), 0);
}

/// Others take what each purge makes free, and free as much: there is room all the time, once it is flushed. Who is
/// overtaken far too often is refused. Seen failing with one round.
#[test]
fn who_is_overtaken_purges_again() {
    for (of_frames, overtaken, fits) in [false, true].into_iter().flat_map(|of_frames| {
        [(0, true), (1, true), (2, true), (12, true), (100, false)]
            .map(|(overtaken, fits)| (of_frames, overtaken, fits))
    }) {
        let (machine, vmalloc) = leaked(2, 3000, if of_frames { 8 } else { 2 });
        vmalloc.tunables().lazy_max_pages.store(1 << 30, Ordering::Relaxed);
        vmalloc.tunables().trace.store(true, Ordering::Relaxed);
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

/// The request cannot be met, though others free all the time.
#[test]
fn a_refusal_comes_while_others_free() {
    for (size, error) in [
        (2900 * PAGE_SIZE, AllocError::OutOfFrames),
        (8 * BLOCK_SIZE - PAGE_SIZE, AllocError::OutOfAddressSpace),
    ] {
        let frames = if error == AllocError::OutOfFrames { 3000 } else { 9000 };
        let (machine, vmalloc) = leaked(2, frames, 8);
        let held = vmalloc.vmalloc(200 * PAGE_SIZE).expect("room");
        free_for_ever(machine, vmalloc, 400);
        assert_eq!(vmalloc.vmalloc(size), Err(error));
        let tally = vmalloc.tally();
        assert!(tally.retries <= 20 && tally.purges <= 40, "{tally:?}");
        assert!(error == AllocError::OutOfAddressSpace || tally.retries <= 2, "{tally:?}");
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
    vmalloc.in_turn(|| {
        machine.refuse_pause(true);
        assert_eq!(vmalloc.vmalloc(PAGE_SIZE), Err(AllocError::OutOfAddressSpace));
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

/// Others free more than may wait while an allocation has the turn, and nobody frees afterwards: who gives the turn sees
/// to it. Seen failing (1536 pages wait) when a free that finds the turn taken leaves it at that.
#[test]
fn what_is_freed_while_an_allocation_has_the_turn_is_purged() {
    let (machine, vmalloc) = leaked(2, 20_000, 40);
    vmalloc.tunables().lazy_max_pages.store(512, Ordering::Relaxed);
    machine.run_on(1);
    let page = || address(vmalloc.vmalloc(PAGE_SIZE).expect("room"));
    let mut areas: Vec<usize> = core::iter::repeat_with(page).take(768).collect();
    let kept = vmalloc.vmalloc(600 * PAGE_SIZE).expect("room");
    free(vmalloc, kept).expect("allocated");
    vmalloc.purge();
    machine.run_on(0);
    let freed = &*Box::leak(Box::new(AtomicUsize::new(0)));
    // What the run kept is needed, so the attempt that has it is made with the turn.
    take(machine, machine.free_frames() - 20);
    machine.at_each(Moment::Table, move || {
        if vmalloc.is_turn_freeing() {
            machine.run_on(1);
            for area in areas.drain(..) {
                free(vmalloc, NonNull::new(area as *mut u8).expect("an address")).expect("allocated");
                freed.fetch_add(1, Ordering::Relaxed);
            }
            machine.run_on(0);
        }
    });
    vmalloc.vmalloc(300 * PAGE_SIZE).expect("a run was kept");
    assert_eq!(freed.load(Ordering::Relaxed), 768, "nobody else came by");
    assert!(vmalloc.lazy_pages() <= 512, "{} pages wait", vmalloc.lazy_pages());
}
