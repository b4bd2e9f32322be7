//! Zeros where somebody writes to frames of an area by their physical addresses, as devices do: no dirty bit tells of it.

extern crate std;

use crate::{
    BLOCK_PAGES, Frame, PAGE_SIZE, Platform, Policy, Request, Reuse, Slack, Vmalloc, Zeroing,
    tests::{
        machine::Machine,
        support::{address, free, instance_by},
    },
};
use core::ptr::NonNull;
use std::vec::Vec;

/// What happens between the free and the next allocation.
const BETWEEN: [fn(&Vmalloc<&Machine>); 3] = [
    |_| {},
    |vmalloc| {
        vmalloc.purge();
    },
    |vmalloc| vmalloc.trim(),
];

/// The bytes of the frame of a page, found by a page walk of which the library knows nothing.
fn walked(machine: &Machine, address: usize) -> NonNull<u64> {
    let frame = machine.translation(address).expect("mapped").frame;
    machine.direct_map(Frame::new(frame)).cast()
}

/// Writes to each page of an area of zeros by its physical address, frees it, and returns what is not zero in the next
/// area of zeros.
fn left(
    machine: &Machine,
    vmalloc: &Vmalloc<&Machine>,
    request: Request,
    between: fn(&Vmalloc<&Machine>),
) -> Vec<usize> {
    let pages = request.size.div_ceil(PAGE_SIZE);
    let page = |area: NonNull<u8>, page: usize| address(area) + page * PAGE_SIZE;
    let area = vmalloc.allocate(request).expect("room");
    for number in 0..pages {
        // SAFETY: simulated memory, and the word lies in the frame.
        unsafe { walked(machine, page(area, number)).add(number % 512).write(77) };
    }
    free(vmalloc, area).expect("allocated");
    between(vmalloc);
    let area = vmalloc.allocate(request).expect("room");
    let words = (0..pages).flat_map(|number| (0..512).map(move |word| page(area, number) + 8 * word));
    let left = words.filter(|&word| machine.read(0, word) != Ok(0)).collect();
    free(vmalloc, area).expect("allocated");
    machine.check();
    left
}

fn requests() -> impl Iterator<Item = Request> {
    let sizes = [1, 2, 16, 40, BLOCK_PAGES / 2, 600, 2 * BLOCK_PAGES];
    sizes.into_iter().map(|pages| Request::new(pages * PAGE_SIZE).zeroed()).flat_map(|request| {
        [request, request.huge(), request.align(8 * PAGE_SIZE), request.no_wait(), request.guard_below()]
    })
}

/// Each kind of area is zero, whichever way its pages went: parked, cached in free pages or in a run, or given back.
///
/// Seen failing, at every size: with entries of zeroed pages that are not dirty (`mapped_as` returning what it is given).
#[test]
fn who_writes_by_physical_address_leaves_nothing_to_the_next_owner() {
    for reuse in [Reuse::Hot, Reuse::AfterFlush] {
        let machine = Machine::new(1, 9000);
        let vmalloc = instance_by(&machine, 16, Policy::default().slack(Slack::Ignored).reuse(reuse));
        for (request, between) in requests().flat_map(|request| BETWEEN.map(|between| (request, between))) {
            assert_eq!(left(&machine, &vmalloc, request, between), [], "{request:?}");
        }
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// The last attempt of an allocation, which obtains all frames before it maps one, fills them, too.
///
/// Seen failing: with `refill_some` filling no frame that is cached in an entry.
#[test]
fn the_last_attempt_fills_what_it_obtained() {
    let machine = Machine::new(1, 60);
    let vmalloc = instance_by(&machine, 4, Policy::default().slack(Slack::Ignored));
    let request = Request::new(30 * PAGE_SIZE).zeroed();
    assert_eq!(left(&machine, &vmalloc, request, |_| {}), []);
    // The frames lie in pages of another size, so that they go back first.
    let filler = vmalloc.vmalloc(9 * PAGE_SIZE).expect("room");
    assert_eq!(left(&machine, &vmalloc, request, |_| {}), []);
    free(&vmalloc, filler).expect("allocated");
}

/// The condition of `TrustDirty` is one: who breaks it finds what was written.
#[test]
fn trust_in_dirty_bits_has_a_condition() {
    let machine = Machine::new(1, 9000);
    let vmalloc =
        instance_by(&machine, 16, Policy::default().slack(Slack::Ignored).zeroing(Zeroing::TrustDirty));
    let request = Request::new(PAGE_SIZE).zeroed();
    assert_eq!(left(&machine, &vmalloc, request, |_| {}).len(), 1);
}
