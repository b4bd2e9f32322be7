//! Every call with the first, second, ... k-th allocation of a frame or a table failing until it
//! succeeds: each failure is an error, and frames, tables and address space balance after it.

extern crate std;

use crate::{
    AllocError, AreaInfo, BLOCK_PAGES, BLOCK_SIZE, Cache, CongruentArea, CongruentError, Frame, NewError,
    PAGE_SIZE, Platform, PopulateError, ProtectError, Protection, ReallocError, Request, Returned, Vmalloc,
    tests::{
        machine::{Machine, PageFault},
        support::{
            START, address, assert_marks, free, instance, mark, populate, protect, resize, take, take_huge,
            unmap, unmap_ram,
        },
    },
};
use core::{fmt::Debug, ptr::NonNull};
use std::vec::Vec;

const BLOCKS: usize = 16;

/// Makes `call` on what `prepare` made, with `0..` allocations succeeding, until it succeeds; after
/// each call `check` sees whether it did, and frees.
fn until_it_succeeds<S, T, E: Debug>(
    out_of_frames: impl Fn(&E) -> bool,
    prepare: impl Fn(&Machine, &Vmalloc<&Machine>) -> S,
    call: impl Fn(&Vmalloc<&Machine>, &S) -> Result<T, E>,
    finish: impl Fn(&Machine, &Vmalloc<&Machine>, S, Option<T>),
) {
    for allowance in 0.. {
        let machine = Machine::new(2, 3000);
        let vmalloc = instance(&machine, BLOCKS);
        let prepared = prepare(&machine, &vmalloc);
        let areas = vmalloc.areas().count();
        machine.fail_after(allowance);
        let result = call(&vmalloc, &prepared);
        machine.never_fail();
        machine.check();
        let result = match result {
            Ok(made) => Some(made),
            Err(error) => {
                assert!(out_of_frames(&error), "{error:?}");
                assert_eq!(vmalloc.areas().count(), areas);
                None
            }
        };
        let done = result.is_some();
        finish(&machine, &vmalloc, prepared, result);
        machine.check();
        assert_eq!(vmalloc.areas().count(), 0);
        vmalloc.trim();
        assert_eq!(vmalloc.stats().free, BLOCKS * BLOCK_PAGES, "address space is missing");
        drop(vmalloc);
        machine.assert_all_frames_back();
        if done {
            // A call that takes nothing would make all of this empty.
            assert!(allowance > 0, "no allocation was made that could fail");
            return;
        }
    }
}

#[test]
fn instances_that_cannot_be_made() {
    // Two directories, the records of CPUs and their table, the table of descriptors, the arena's tree and its table of maps.
    for allowance in 0..8 {
        let machine = Machine::new(1, 100);
        machine.fail_after(allowance);
        // Two top level entries.
        let range = (1 << 39) * 5 - BLOCK_SIZE..(1 << 39) * 5 + BLOCK_SIZE;
        // SAFETY: the machine's address space has nothing else in it.
        let result = unsafe { Vmalloc::new(&machine, range) };
        assert_eq!(result.as_ref().err(), (allowance < 7).then_some(&NewError::OutOfFrames));
        machine.never_fail();
        drop(result);
        machine.assert_all_frames_back();
    }
}

#[test]
fn allocations() {
    let requests = [
        Request::new(1),
        Request::new(40 * PAGE_SIZE).zeroed(),
        Request::new(PAGE_SIZE).align(BLOCK_SIZE),
        Request::new(PAGE_SIZE).within(START + BLOCK_SIZE, START + 2 * BLOCK_SIZE),
        Request::new(700 * PAGE_SIZE),
        Request::new(1100 * PAGE_SIZE).huge(),
        Request::new(1024 * PAGE_SIZE).huge().zeroed().protection(Protection::ReadOnly),
    ];
    for request in requests {
        until_it_succeeds(
            |error| matches!(error, AllocError::OutOfFrames { .. }),
            |_, _| (),
            |vmalloc, ()| vmalloc.allocate(request),
            |_, vmalloc, (), area| free_all(vmalloc, area),
        );
    }
}

fn free_all(vmalloc: &Vmalloc<&Machine>, areas: impl IntoIterator<Item = NonNull<u8>>) {
    areas.into_iter().for_each(|area| free(vmalloc, area).expect("allocated"));
}

#[test]
fn mappings_of_the_callers_frames() {
    for count in [3, 600, 2 * BLOCK_PAGES] {
        // Those of the longest list are contiguous.
        let take = |machine: &Machine| match count.is_multiple_of(BLOCK_PAGES) {
            true => take_huge(machine, count / BLOCK_PAGES),
            false => take(machine, count),
        };
        until_it_succeeds(
            |error| matches!(error, AllocError::OutOfFrames { .. }),
            |machine, _| take(machine),
            |vmalloc, frames| vmalloc.vmap(frames, Protection::ReadOnly),
            |machine, vmalloc, frames, area| {
                area.into_iter().for_each(|area| unmap(vmalloc, area).expect("mapped"));
                vmalloc.vm_unmap_aliases();
                Platform::give_frames(&machine, Returned::new(frames.into_iter()));
            },
        );
        until_it_succeeds(
            |error| matches!(error, AllocError::OutOfFrames { .. }),
            |machine, _| take(machine),
            |vmalloc, frames| vmalloc.vm_map_ram(frames, Protection::ReadOnly),
            |machine, vmalloc, frames, area| {
                area.into_iter().for_each(|area| unmap_ram(vmalloc, area, count).expect("mapped"));
                vmalloc.vm_unmap_aliases();
                Platform::give_frames(&machine, Returned::new(frames.into_iter()));
            },
        );
    }
}

/// Makes a mapping of the frames that `take` takes, beside a small one, with ever more frames free, until it succeeds.
/// Returns how many were free then.
fn fewest(take_frames: impl Fn(&Machine) -> Vec<Frame>) -> usize {
    let succeeds = |&left: &usize| {
        let machine = Machine::new(1, 3000);
        let vmalloc = instance(&machine, BLOCKS);
        // With it come directories and descriptors.
        vmalloc.vmap(&take(&machine, 1), Protection::ReadWrite).expect("room");
        let frames = take_frames(&machine);
        take(&machine, machine.free_frames() - left);
        vmalloc.vmap(&frames, Protection::ReadWrite).is_ok()
    };
    (0..).find(succeeds).expect("some number is enough")
}

/// Seen failing with a frame more than need be, or with all 2 MiB taken for what the first ones are.
#[test]
fn a_mapping_is_made_with_just_the_tables_that_it_needs() {
    assert_eq!(fewest(|machine| take(machine, 600)), 2);
    let second_is_huge = |machine: &Machine| {
        let huge = take_huge(machine, 1);
        [take(machine, BLOCK_PAGES), huge].concat()
    };
    assert_eq!(fewest(second_is_huge), 2, "the first block's, and the guard page's");
}

/// Seen failing with as many frames as the machine has refused at once, without those for tables.
#[test]
fn an_area_of_all_frames_needs_tables_besides() {
    let machine = Machine::new(1, 1000);
    let vmalloc = instance(&machine, BLOCKS);
    let needed = |pages: usize| match vmalloc.vmalloc(pages * PAGE_SIZE) {
        Err(AllocError::OutOfFrames { needed, .. }) => needed,
        other => panic!("{other:?}"),
    };
    assert_eq!(needed(1000), 1002);
    assert_eq!(needed(1001), 1001, "there never are as many");
}

#[test]
fn mappings_of_registers() {
    for size in [1, 3 * PAGE_SIZE, 600 * PAGE_SIZE] {
        until_it_succeeds(
            |error| matches!(error, AllocError::OutOfFrames { .. }),
            |_, _| (),
            |vmalloc, ()| vmalloc.ioremap(0xfee0_0000, size, Cache::Uncached),
            |_, vmalloc, (), area| area.into_iter().for_each(|area| unmap(vmalloc, area).expect("mapped")),
        );
    }
}

/// A protection that begins and ends inside 2 MiB pages splits both, whose frames are the area's or the caller's.
#[test]
fn protections_that_split_huge_pages() {
    let pages = 2 * BLOCK_PAGES;
    for mapped in [false, true] {
        until_it_succeeds(
            |error| matches!(error, ProtectError::OutOfFrames),
            |machine, vmalloc| {
                let frames = take_huge(machine, if mapped { 2 } else { 0 });
                let area = match mapped {
                    true => vmalloc.vmap(&frames, Protection::ReadWrite),
                    false => vmalloc.allocate(Request::new(pages * PAGE_SIZE).huge()),
                };
                let area = area.expect("room");
                mark(machine, address(area), 0..pages, 7);
                (area, frames)
            },
            |vmalloc, (area, _)| {
                protect(vmalloc, address(*area) + 5 * PAGE_SIZE, pages - 10, Protection::ReadOnly)
            },
            |machine, vmalloc, (area, frames), done| {
                assert_marks(machine, 1, address(area), 0..pages, 7);
                for page in [0, 4, 5, 600, pages - 6, pages - 5, pages - 1] {
                    let expected = done.is_none() || !(5..pages - 5).contains(&page);
                    assert_eq!(
                        machine.writable(address(area) + page * PAGE_SIZE),
                        Some(expected),
                        "page {page}"
                    );
                }
                let info = vmalloc.find_area(address(area) + PAGE_SIZE).expect("allocated");
                assert_eq!(info.pages, pages);
                assert!(info.huge_pages == 0 || done.is_none());
                let freed = if mapped { unmap(vmalloc, area) } else { free(vmalloc, area) };
                freed.expect("allocated");
                vmalloc.vm_unmap_aliases();
                Platform::give_frames(&machine, Returned::new(frames.into_iter()));
            },
        );
    }
}

#[test]
fn congruent_areas() {
    let areas = [(0, 2), (3, 600), (6, 1)];
    let areas =
        areas.map(|(block, pages)| CongruentArea { offset: block * BLOCK_SIZE, size: pages * PAGE_SIZE });
    let free = |vmalloc: &Vmalloc<&Machine>, set| {
        // SAFETY: simulated memory, which nobody uses.
        unsafe { vmalloc.free_congruent(set) }.expect("allocated");
    };
    until_it_succeeds(
        |error| matches!(error, CongruentError::Refused(AllocError::OutOfFrames { .. })),
        |_, _| (),
        |vmalloc, ()| vmalloc.allocate_congruent(&areas, 1),
        |_, vmalloc, (), set| set.into_iter().for_each(|set| free(vmalloc, set)),
    );
    until_it_succeeds(
        |error| matches!(error, PopulateError::OutOfFrames { .. }),
        |_, vmalloc| vmalloc.allocate_congruent(&areas, 1).expect("room"),
        |vmalloc, set| populate(vmalloc, *set, 1..515),
        |_, vmalloc, set, populated| {
            let pages = |area: AreaInfo| area.populated;
            let expected = if populated.is_some() { [1, 514] } else { [0, 0] };
            assert_eq!(vmalloc.areas().map(pages).take(2).collect::<Vec<_>>(), expected);
            free(vmalloc, set);
        },
    );
}

#[test]
fn shrinking_to_the_middle_of_a_huge_page() {
    until_it_succeeds(
        |error| matches!(error, ReallocError::Size(AllocError::OutOfFrames { .. })),
        |machine, vmalloc| {
            let area = vmalloc.allocate(Request::new(1024 * PAGE_SIZE).huge()).expect("room");
            mark(machine, address(area), 0..1024, 1);
            area
        },
        |vmalloc, area| resize(vmalloc, *area, 700),
        |machine, vmalloc, area, shrunk| {
            let pages = if shrunk.is_some() { 700 } else { 1024 };
            assert_eq!(vmalloc.find_area(address(area)).expect("allocated").pages, pages);
            assert_marks(machine, 1, address(area), 0..pages, 1);
            free(vmalloc, area).expect("allocated");
        },
    );
}

#[cfg(feature = "collections")]
#[test]
fn the_allocator_of_collections() {
    use allocator_api2::alloc::{AllocError as Refused, Allocator, Layout};
    let layout = |pages: usize| Layout::from_size_align(pages * PAGE_SIZE, 8).expect("small");
    until_it_succeeds(
        |Refused| true,
        |_, _| (),
        |vmalloc, ()| {
            let memory = Allocator::allocate(&vmalloc, layout(3))?.cast::<u8>();
            // SAFETY: allocated with this layout; the old address is not used afterwards.
            unsafe {
                vmalloc
                    .grow(memory, layout(3), layout(600))
                    .inspect_err(|_| vmalloc.deallocate(memory, layout(3)))
            }
        },
        |_, vmalloc, (), memory| free_all(vmalloc, memory.map(NonNull::cast)),
    );
}

#[test]
fn every_growth_that_fails_halfway_leaves_the_area_as_it_was() {
    for (pages, grown, blocked) in [
        (2, 30, false),
        (2, 30, true),
        (2, 600, false),
        (600, 1300, false),
        (600, 1300, true),
        (600, 900, false),
    ] {
        // Each of the first allocations, in which all tables and records are, then some of the frames.
        for allowance in (0..30).chain((30..).step_by(29)) {
            let machine = Machine::new(2, 6000);
            let vmalloc = instance(&machine, 32);
            let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
            mark(&machine, address(area), 0..pages, 3);
            let blocker = blocked.then(|| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room"));
            let before = vmalloc.stats().free;
            machine.fail_after(allowance);
            let result = resize(&vmalloc, area, grown);
            machine.never_fail();
            let area = match &result {
                Ok(moved) => *moved,
                Err(error) => {
                    assert!(matches!(error, ReallocError::Size(AllocError::OutOfFrames { .. })));
                    let info = vmalloc.find_area(address(area)).expect("still there");
                    assert_eq!((info.start, info.pages), (address(area), pages));
                    assert_eq!(machine.read(0, address(area) + pages * PAGE_SIZE), Err(PageFault), "guard");
                    vmalloc.trim();
                    assert!(vmalloc.stats().free >= before, "address space is missing");
                    area
                }
            };
            machine.check();
            assert_marks(&machine, 1, address(area), 0..pages, 3);
            free(&vmalloc, area).expect("allocated");
            blocker.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
            drop(vmalloc);
            machine.assert_all_frames_back();
            if result.is_ok() {
                break;
            }
        }
    }
}
