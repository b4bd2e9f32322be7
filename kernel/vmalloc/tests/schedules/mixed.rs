//! Random calls of many kinds on several CPUs at once, with random tunables and in little memory: whatever two calls do to each
//! other is met here sooner or later.

use crate::{
    explore::{LONG, explore_some},
    machine::{Area, Cpu, Model},
};
use core::{mem, ptr::NonNull, sync::atomic::Ordering};
use shuttle::rand::{Rng, thread_rng};
use std::sync::Mutex;
use vmalloc::{
    AllocError, BLOCK_SIZE, CongruentArea, CongruentError, Frame, PAGE_SIZE, Platform, PopulateError,
    Protection, ReallocError, Request, Reuse,
};

/// Calls that each CPU makes.
const CALLS: usize = 8;
/// Pages of areas: small ones, those that are parked by another rule, such as need a run of blocks, and a block or more.
const PAGES: [usize; 12] = [1, 1, 1, 2, 2, 3, 4, 16, 17, 100, 300, 600];

/// The areas that there are, of whichever CPU; each may free each.
struct Shared(Mutex<Vec<Area>>);

impl Shared {
    fn put(&self, area: Area) {
        self.0.lock().expect("no panic").push(area);
    }

    /// Takes one of the areas away from the others.
    fn take(&self) -> Option<Area> {
        let mut areas = self.0.lock().expect("no panic");
        let count = areas.len();
        (count > 0).then(|| areas.swap_remove(thread_rng().gen_range(0..count)))
    }
}

fn pages() -> usize {
    PAGES[thread_rng().gen_range(0..PAGES.len())]
}

/// Memory or address space may be short, and nothing else be wrong.
fn expect_shortage(error: AllocError) {
    let is_short = matches!(error, AllocError::OutOfFrames { .. } | AllocError::OutOfAddressSpace { .. });
    assert!(is_short, "{error}");
}

fn allocate(cpu: &Cpu<'_>, shared: &Shared) {
    let area = match thread_rng().gen_range(0..4) {
        0 => cpu.try_take_zeroed(pages()),
        1 => cpu.try_take(pages(), Request::no_wait),
        2 => cpu.try_take(pages(), Request::guard_below),
        _ => cpu.try_take(pages(), |request| request),
    };
    match area {
        Ok(area) => shared.put(area),
        Err(error) => expect_shortage(error),
    }
}

fn resize(cpu: &Cpu<'_>, shared: &Shared) {
    let Some(area) = shared.take() else { return };
    let (area, result) = cpu.resize(area, pages());
    shared.put(area);
    match result {
        Err(ReallocError::Size(error)) => expect_shortage(error),
        result => result.expect("an area of ours"),
    }
}

/// Gives back what a CPU caches, for a caller who may or may not wait for a grace period.
fn give_back(cpu: &Cpu<'_>) {
    let (count, which) = (thread_rng().gen_range(1..100), thread_rng().gen_range(0..3));
    cpu.machine.refuse_grace(thread_rng().gen_bool(0.5));
    match which {
        0 => cpu.vmalloc.trim(),
        1 => mem::drop(cpu.vmalloc.shrink(count)),
        _ => cpu.vmalloc.release_cpu(cpu.number),
    }
    cpu.machine.refuse_grace(false);
}

/// Maps frames several times, and gives them to others when every CPU has forgotten them.
fn map_ram(cpu: &Cpu<'_>) {
    let count = thread_rng().gen_range(1..6);
    let mut frames: Vec<Frame> = Vec::new();
    if cpu.machine.take_frames(count, |frame| frames.push(frame)) == count {
        let map = || cpu.vmalloc.vm_map_ram(&frames, Protection::ReadWrite);
        let mapped: Vec<_> = (0..thread_rng().gen_range(1..5)).map(|_| map()).collect();
        for start in mapped {
            match start {
                Ok(start) => {
                    let last = start.addr().get() + (count - 1) * PAGE_SIZE;
                    cpu.machine.write_bytes(last, &[cpu.number as u8]).expect("mapped");
                    cpu.speculate();
                    // SAFETY: nobody uses it.
                    unsafe { cpu.vmalloc.vm_unmap_ram(start, count) }.expect("mapped");
                    if thread_rng().gen_bool(0.2) {
                        give_back(cpu);
                    }
                }
                Err(error) => expect_shortage(error),
            }
        }
        cpu.vmalloc.vm_unmap_aliases();
    }
    frames.into_iter().for_each(|frame| cpu.machine.give_back(frame));
}

/// Maps frames as an area, takes away the right to write, and gives the frames to others when every CPU has forgotten them.
fn map(cpu: &Cpu<'_>) {
    let count = thread_rng().gen_range(1..6);
    let mut frames: Vec<Frame> = Vec::new();
    if cpu.machine.take_frames(count, |frame| frames.push(frame)) == count {
        match cpu.vmalloc.vmap(&frames, Protection::ReadWrite) {
            Ok(start) => {
                let last = start.addr().get() + (count - 1) * PAGE_SIZE;
                cpu.machine.write_bytes(last, &[cpu.number as u8]).expect("mapped");
                protect(cpu, start, count, Protection::ReadOnly);
                assert!(cpu.machine.write_bytes(last, &[0]).is_err(), "it may be written");
                cpu.speculate();
                // SAFETY: nobody uses it.
                unsafe { cpu.vmalloc.vunmap(start) }.expect("mapped");
            }
            Err(error) => expect_shortage(error),
        }
        cpu.vmalloc.vm_unmap_aliases();
    }
    frames.into_iter().for_each(|frame| cpu.machine.give_back(frame));
}

fn protect(cpu: &Cpu<'_>, start: NonNull<u8>, pages: usize, protection: Protection) {
    // SAFETY: the area is this CPU's, which does not write where it may not.
    unsafe { cpu.vmalloc.set_protection(start, pages * PAGE_SIZE, protection) }
        .expect("no 2 MiB page to split");
}

/// Takes away the right to write an area, and gives it back.
fn lock(cpu: &Cpu<'_>, shared: &Shared) {
    let Some(area) = shared.take() else { return };
    protect(cpu, area.address(), area.pages, Protection::ReadOnly);
    cpu.look(area);
    assert!(cpu.machine.write_bytes(area.start, &[0]).is_err(), "it may be written");
    protect(cpu, area.address(), area.pages, Protection::ReadWrite);
    shared.put(area);
}

/// Makes a set of congruent areas, of which some pages have frames for a while.
fn use_set(cpu: &Cpu<'_>) {
    let areas = [(0, 5), (1, 2)]
        .map(|(block, pages)| CongruentArea { offset: block * BLOCK_SIZE, size: pages * PAGE_SIZE });
    let set = match cpu.vmalloc.allocate_congruent(&areas, 1) {
        Ok(set) => set,
        Err(CongruentError::Refused(error)) => return expect_shortage(error),
        Err(error) => panic!("{error}"),
    };
    // SAFETY: the set is this CPU's.
    match unsafe { cpu.vmalloc.populate(set, 0..3) } {
        Ok(()) => {
            let second = set.base() + BLOCK_SIZE;
            cpu.machine.write_bytes(second, &[cpu.number as u8]).expect("populated");
            // SAFETY: nobody uses these pages.
            unsafe { cpu.vmalloc.depopulate(set, 1..3) }.expect("populated");
            let mut byte = [0];
            cpu.machine.read_bytes(second, &mut byte).expect("populated");
            assert_eq!(byte, [cpu.number as u8]);
        }
        Err(error) => assert!(matches!(error, PopulateError::OutOfFrames { .. }), "{error}"),
    }
    // SAFETY: nobody uses it.
    unsafe { cpu.vmalloc.free_congruent(set) }.expect("allocated");
}

/// Asks about an area that others may be freeing.
fn ask(cpu: &Cpu<'_>, shared: &Shared) {
    let Some(area) = shared.0.lock().expect("no panic").last().copied() else { return };
    let address = area.start + (area.pages - 1) * PAGE_SIZE;
    let found = cpu.vmalloc.find_area(address);
    assert!(found.is_none_or(|found| (found.start..found.end()).contains(&address)), "{found:?}");
    let mut bytes = [0; 16];
    assert!(cpu.vmalloc.vread(address, &mut bytes) <= bytes.len());
    let _ = (cpu.vmalloc.whatis(address), cpu.vmalloc.frame_at(address), cpu.vmalloc.next_area(address));
}

fn call(cpu: &Cpu<'_>, shared: &Shared) {
    match thread_rng().gen_range(0..26) {
        0..=5 => allocate(cpu, shared),
        6..=10 => shared.take().into_iter().for_each(|area| cpu.free(area)),
        11 | 12 => resize(cpu, shared),
        13 | 14 => map_ram(cpu),
        15 => mem::drop(cpu.vmalloc.purge()),
        16 => cpu.speculate(),
        17 => cpu.look_at_all(),
        18 | 19 => map(cpu),
        20 => lock(cpu, shared),
        21 | 22 => use_set(cpu),
        23 => ask(cpu, shared),
        _ => give_back(cpu),
    }
}

/// Three CPUs make random calls, and free what others allocated.
///
/// Seen failing with a purge that frees what became dirty during its flush, with pages that are flushed though they were not
/// dirty when it began, with a free block that is closed while a purge has it, with a leaf table that its pool does not
/// forget, with an emptied magazine that goes on to note what was unmapped, and with rights that are taken away without a
/// flush.
#[test]
fn calls_of_all_kinds_do_not_disturb_each_other() {
    explore_some(LONG, || {
        let mut random = thread_rng();
        let frames = [400, 900, 2500][random.gen_range(0..3)];
        let model = if random.gen_bool(0.5) { Model::new(3, frames) } else { Model::flushing(3, frames) };
        let model = Model { blocks: random.gen_range(4..9), ..model };
        let (ceiling, lazy_max) = (random.gen_range(0..40), random.gen_range(0..200));
        let quarantine = if random.gen_bool(0.2) { random.gen_range(1..50) } else { 0 };
        let is_changed = random.gen_bool(0.2);
        let shared = Shared(Mutex::default());
        let prepare = |cpu: &Cpu<'_>| {
            let tunables = cpu.vmalloc.tunables();
            tunables.single_page_flush_ceiling.store(ceiling, Ordering::Relaxed);
            tunables.lazy_max_pages.store(lazy_max, Ordering::Relaxed);
            cpu.vmalloc.set_quarantine(quarantine);
        };
        let work = |cpu: &Cpu<'_>| {
            for number in 0..CALLS {
                if is_changed && cpu.number == 0 && number == CALLS / 2 {
                    cpu.vmalloc.set_reuse(Reuse::AfterFlush);
                    cpu.vmalloc.set_quarantine(0);
                }
                call(cpu, &shared);
            }
        };
        model.run(prepare, &[&work, &work, &work], |cpu| {
            cpu.vmalloc.set_quarantine(0);
            shared.0.lock().expect("no panic").drain(..).for_each(|area| cpu.free(area));
        });
    });
}
