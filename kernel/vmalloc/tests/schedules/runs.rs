//! Long areas: what a CPU keeps of them, which others take; and rights of parts of one.

use crate::{
    explore::{LONG, explore, explore_some},
    machine::{Cpu, Model},
};
use core::{
    ptr::{NonNull, without_provenance_mut},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};
use vmalloc::{BLOCK_SIZE, PAGE_SIZE, Protection, ReallocError, Request};

fn use_run(cpu: &Cpu<'_>) {
    let run = cpu.take(256);
    cpu.speculate();
    cpu.free(run);
}

/// Two CPUs take runs that one of them has cached, and free them, while a third one purges, and gives all caches back.
///
/// Seen failing with the lock opened between the look for a cached run and the taking; with runs cached before their flush.
#[test]
fn a_cached_run_is_had_by_one() {
    explore_some(LONG, || {
        let prepare = |cpu: &Cpu<'_>| {
            if cpu.number == 0 {
                [(); 2].map(|()| cpu.take(256)).into_iter().for_each(|run| cpu.free(run));
                cpu.vmalloc.purge();
                assert_eq!(cpu.vmalloc.stats().used(), 0, "they are cached");
            }
        };
        let trim = |cpu: &Cpu<'_>| {
            cpu.vmalloc.purge();
            cpu.speculate();
            cpu.vmalloc.trim();
        };
        Model { blocks: 6, ..Model::new(3, 9000) }.run(prepare, &[&use_run, &use_run, &trim], |_| {});
    });
}

/// One CPU protects a page of an area's first 2 MiB page, another one hides the second. The area tells that it hides pages,
/// whether that is noted before the first one is split or after.
///
/// Seen failing, in one of some thousand schedules (`SCHEDULES=2500`), with the mark put upon whatever was found in the place of
/// the first page's entry.
#[test]
fn an_area_whose_first_page_is_split_tells_of_hidden_ones() {
    explore(|| {
        let start = &AtomicUsize::new(0);
        let address = || NonNull::new(without_provenance_mut(start.load(Relaxed))).expect("made");
        let protect = |cpu: &Cpu<'_>, offset: usize, size: usize, protection: Protection| {
            let part = NonNull::new(without_provenance_mut(start.load(Relaxed) + offset)).expect("made");
            // SAFETY: nobody uses the area.
            unsafe { cpu.vmalloc.set_protection(part, size, protection) }.expect("frames enough");
        };
        let prepare = |cpu: &Cpu<'_>| {
            if cpu.number == 0 {
                let area = cpu.vmalloc.allocate(Request::new(2 * BLOCK_SIZE).huge()).expect("room");
                let found = cpu.vmalloc.find_area(area.addr().get()).expect("allocated");
                assert_eq!(found.huge_pages, found.pages);
                start.store(area.addr().get(), Relaxed);
            }
        };
        let split = |cpu: &Cpu<'_>| protect(cpu, 0, PAGE_SIZE, Protection::ReadOnly);
        let hide = |cpu: &Cpu<'_>| protect(cpu, BLOCK_SIZE, BLOCK_SIZE, Protection::None);
        Model { blocks: 6, ..Model::new(2, 9000) }.run(prepare, &[&split, &hide], |cpu| {
            // SAFETY: nobody uses the area.
            let resized = unsafe { cpu.vmalloc.vrealloc(address(), PAGE_SIZE) };
            assert!(matches!(resized, Err(ReallocError::Inaccessible { .. })), "{resized:?}");
            // SAFETY: as above.
            unsafe { cpu.vmalloc.vfree(address()) }.expect("allocated");
        });
    });
}
