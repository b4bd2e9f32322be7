//! Random work with small areas, by several CPUs, compared with a model.

extern crate std;

use crate::{
    PAGE_SIZE, Protection, Request, Reuse, Vmalloc,
    tests::{
        machine::{Machine, Random},
        support::{address, at, free, instance, leaked, protect, resize},
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    vec::Vec,
};

const FRAMES: usize = 20_000;

/// What a page should be: its first word, unless nobody wrote there since it was allocated; its protection.
type Page = (Option<u64>, Protection);

const ALL: [Protection; 3] = [Protection::ReadWrite, Protection::ReadOnly, Protection::ReadExecute];

/// The areas of an instance, by their addresses, as they should be.
#[derive(Default)]
struct Model {
    areas: BTreeMap<usize, Vec<Page>>,
}

/// One CPU's work.
struct Work<'a> {
    machine: &'a Machine,
    vmalloc: &'a Vmalloc<&'a Machine>,
    cpus: usize,
}

/// Mostly few.
fn some_pages(random: &mut Random) -> usize {
    if random.below(10) == 0 { 17 + random.below(120) } else { 1 + random.below(20) }
}

impl Work<'_> {
    /// Each page is as it should be for a CPU, and is written if that is allowed.
    fn use_area(&self, random: &mut Random, model: &mut Model, area: usize) {
        let pages = model.areas.get_mut(&area).expect("allocated");
        let cpu = random.below(self.cpus);
        for (page, (word, protection)) in pages.iter_mut().enumerate() {
            let start = area + page * PAGE_SIZE;
            let found = self.machine.read(cpu, start).expect("mapped");
            assert_eq!(word.unwrap_or(found), found, "page {page} of {area:#x} on CPU {cpu}");
            let value = random.below(1 << 20) as u64;
            let written = self.machine.write(cpu, start, value);
            assert_eq!(written.is_ok(), *protection == Protection::ReadWrite, "page {page} of {area:#x}");
            *word = if written.is_ok() { Some(value) } else { *word };
            let executable = self.machine.speculate(cpu, start).expect("mapped").executable;
            assert_eq!(executable, *protection == Protection::ReadExecute);
        }
        // Of an area that was cut a CPU may have a translation from when it was longer.
        assert_eq!(self.machine.translation(area + pages.len() * PAGE_SIZE), None, "the guard page");
        let found = self.vmalloc.find_area(area).expect("allocated");
        assert_eq!((found.start, found.pages), (area, pages.len()));
    }

    fn allocate(&self, random: &mut Random, model: &mut Model) {
        let (pages, zeroed) = (some_pages(random), random.below(3) == 0);
        // Nearly always the same rights, so that what is parked fits.
        let protection = if random.below(8) == 0 { ALL[random.below(3)] } else { Protection::ReadWrite };
        let mut request = Request::new(pages * PAGE_SIZE).protection(protection);
        if random.below(8) == 0 {
            request = request.align(PAGE_SIZE << random.below(4));
        }
        if random.below(12) == 0 {
            request = request.guard_below();
        }
        request = if zeroed { request.zeroed() } else { request };
        let area = address(self.vmalloc.allocate(request).expect("room"));
        let page = (zeroed.then_some(0), protection);
        let overlap = model.areas.range(..area + pages * PAGE_SIZE).next_back();
        assert!(
            overlap.is_none_or(|(&start, pages)| start + pages.len() * PAGE_SIZE < area),
            "two areas in one place"
        );
        model.areas.insert(area, std::vec![page; pages]);
        if random.below(2) == 0 {
            self.use_area(random, model, area);
        }
    }

    fn resize(&self, random: &mut Random, model: &mut Model, area: usize) {
        let mut pages = model.areas.remove(&area).expect("allocated");
        let count = some_pages(random);
        let growth = pages.last().expect("one at least").1;
        pages.resize(count, (None, growth));
        let now = resize(self.vmalloc, at(area), count).expect("room");
        model.areas.insert(address(now), pages);
    }

    fn protect(&self, random: &mut Random, model: &mut Model, area: usize) {
        let pages = model.areas.get_mut(&area).expect("allocated");
        let first = random.below(pages.len());
        let part = first..first + 1 + random.below(pages.len() - first);
        let protection = ALL[random.below(3)];
        protect(self.vmalloc, area + first * PAGE_SIZE, part.len(), protection).expect("an area");
        pages[part].iter_mut().for_each(|page| page.1 = protection);
    }

    fn step(&self, random: &mut Random, model: &mut Model) {
        self.machine.run_on(random.below(self.cpus));
        let any = model.areas.keys().nth(random.below(model.areas.len().max(1))).copied();
        match (random.below(64), any) {
            (0, _) => drop(self.vmalloc.purge()),
            (1, _) if random.below(4) == 0 => self.vmalloc.trim(),
            (2, _) => {
                self.vmalloc.set_reuse(if random.below(3) == 0 { Reuse::AfterFlush } else { Reuse::Hot })
            }
            (3, _) => self.vmalloc.set_trace(random.below(4) == 0),
            (4..7, Some(area)) => self.protect(random, model, area),
            (7..12, Some(area)) => self.resize(random, model, area),
            (12..24, Some(area)) => self.use_area(random, model, area),
            (24..44, Some(area)) if model.areas.len() > 6 => {
                model.areas.remove(&area);
                free(self.vmalloc, at(area)).expect("allocated");
            }
            _ if model.areas.len() < 40 => self.allocate(random, model),
            (_, Some(area)) => {
                model.areas.remove(&area);
                free(self.vmalloc, at(area)).expect("allocated");
            }
            _ => {}
        }
        self.machine.observe();
        self.machine.check();
    }

    fn end(&self, random: &mut Random, model: &mut Model) {
        let areas: Vec<usize> = model.areas.keys().copied().collect();
        let found: Vec<usize> = self.vmalloc.areas().map(|area| area.start).collect();
        assert_eq!(found, areas);
        for area in areas {
            self.use_area(random, model, area);
            model.areas.remove(&area);
            free(self.vmalloc, at(area)).expect("allocated");
        }
        self.machine.take_events();
        self.vmalloc.trim();
        assert_eq!(self.vmalloc.stats().free, self.vmalloc.stats().total);
    }
}

/// Seen failing: with `refit` clearing dirty bits; with `set_protection`, or `vrealloc`, not marking what it changes; with
/// rights not compared.
#[test]
fn random_work_is_as_the_model_says() {
    let mut parked = 0;
    for (seed, cpus) in (1..=8).flat_map(|seed| [(seed, 2), (seed, 3)]) {
        let machine = Machine::new(cpus, FRAMES);
        let vmalloc = instance(&machine, 12);
        let mut random = Random::new(seed);
        if seed % 3 == 0 {
            vmalloc.set_reuse(Reuse::AfterFlush);
        }
        let work = Work { machine: &machine, vmalloc: &vmalloc, cpus };
        let mut model = Model::default();
        for _ in 0..1200 {
            work.step(&mut random, &mut model);
            parked += usize::from(random.below(16) == 0 && vmalloc.stats().parked > 0);
        }
        work.end(&mut random, &mut model);
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
    assert!(parked > 300, "hardly anything was parked");
}

/// The calls are interrupted: another CPU allocates, frees, trims, or changes how freed areas are used.
#[test]
fn random_work_in_the_middle_of_which_others_close_and_open() {
    const CPUS: usize = 3;
    for seed in 1..=4 {
        let (machine, vmalloc) = leaked(CPUS, FRAMES, 12);
        // Who acts in the middle of a call may not wait for it.
        machine.refuse_grace(true);
        let random = Arc::new(Mutex::new(Random::new(seed * 77)));
        let held = Arc::new(Mutex::new(Vec::<usize>::new()));
        let (theirs, their_areas) = (Arc::clone(&random), Arc::clone(&held));
        machine.interleave(move || {
            let mut random = theirs.lock().expect("no panic");
            let mut held = their_areas.lock().expect("no panic");
            if random.below(4) > 0 {
                return;
            }
            // CPU 2 makes no other calls.
            machine.run_on(2);
            match random.below(24) {
                0 => vmalloc.trim(),
                1 => vmalloc.set_reuse(Reuse::AfterFlush),
                2 | 3 => vmalloc.set_reuse(Reuse::Hot),
                4 => vmalloc.set_trace(true),
                5 | 6 => vmalloc.set_trace(false),
                7..14 if !held.is_empty() => {
                    let any = random.below(held.len());
                    let area = held.swap_remove(any);
                    assert_eq!(machine.read(2, area), Ok(area as u64), "overwritten");
                    free(vmalloc, at(area)).expect("allocated");
                }
                _ if held.len() < 10 => {
                    let request = Request::new((1 + random.below(5)) * PAGE_SIZE).zeroed().no_wait();
                    let Ok(area) = vmalloc.allocate(request) else { return };
                    assert_eq!(machine.read(2, address(area)), Ok(0));
                    machine.write(2, address(area), address(area) as u64).expect("writable");
                    held.push(address(area));
                }
                _ => {}
            }
        });
        let mut ours = Random::new(seed);
        let work = Work { machine, vmalloc, cpus: 2 };
        let mut model = Model::default();
        for _ in 0..500 {
            work.step(&mut ours, &mut model);
        }
        machine.end_interleaving();
        machine.refuse_grace(false);
        for area in held.lock().expect("no panic").drain(..) {
            assert_eq!(machine.read(2, area), Ok(area as u64), "overwritten");
            free(vmalloc, at(area)).expect("allocated");
        }
        work.end(&mut ours, &mut model);
    }
}
