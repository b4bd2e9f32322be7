//! The library's calls in interrupt handlers of real CPUs.

use alloc::{sync::Arc, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};
use kernel::{
    arch::{cpu, interrupts},
    memory,
    threads::{self, Builder},
};
use vmalloc::{AllocError, Frame, PAGE_SIZE, Protection, Request};

static REFUSED: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);

fn free(area: NonNull<u8>) {
    // SAFETY: tests free what they allocated, and use it no more.
    unsafe { memory::vmalloc().vfree(area) }.expect("allocated");
}

/// Asks for an area, and for a mapping, both of a page and of more.
fn ask() {
    let vmalloc = memory::vmalloc();
    let frames = [Frame::new(0); 3];
    let answers = [
        vmalloc.vmalloc(PAGE_SIZE),
        vmalloc.allocate(Request::new(2 * PAGE_SIZE).no_wait()),
        vmalloc.vm_map_ram(&frames[..1], Protection::ReadOnly),
        vmalloc.vm_map_ram(&frames, Protection::ReadOnly),
    ];
    for answer in answers {
        let counter = if answer == Err(AllocError::InInterrupt) { &REFUSED } else { &DONE };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The code that is interrupted allocates and frees, and so often holds the block's lock. Seen failing, by reported lock
/// orders and a hang, with the question left out of the plain way of more than a page.
#[test_case]
fn nothing_is_allocated_in_a_handler_whatever_it_interrupted() {
    const CALLS: usize = 2000;
    let here = cpu::current();
    let Some(other) = cpu::online().iter().find(|&number| number != here && !cpu::is_isolated(number)) else {
        return;
    };
    REFUSED.store(0, Ordering::Relaxed);
    DONE.store(0, Ordering::Relaxed);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let busy = Builder::new("busy").on_cpu(other).spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let areas: Vec<_> = (1..40)
                .map(|pages| memory::vmalloc().vmalloc(pages % 5 * PAGE_SIZE + 1).expect("memory"))
                .collect();
            areas.into_iter().for_each(free);
        }
    });
    for call in 0..CALLS {
        interrupts::call_on(other, ask);
        if call % 64 == 0 {
            threads::yield_now();
        }
    }
    stop.store(true, Ordering::Relaxed);
    busy.expect("memory enough").join();
    assert_eq!((REFUSED.load(Ordering::Relaxed), DONE.load(Ordering::Relaxed)), (4 * CALLS, 0));
}
