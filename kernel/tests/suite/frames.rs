//! The frame allocator, on the machine's memory.

use alloc::{collections::BTreeSet, vec::Vec};
use kernel::memory::{self, direct_map, frames};
use vmalloc::{Frame, PAGE_SIZE};

#[test_case]
fn taken_frames_are_counted_and_different() {
    for count in [1, 10, 300, 5000] {
        let before = frames::counts().free;
        let mut taken: Vec<Frame> = Vec::with_capacity(count);
        assert_eq!(frames::take(count, |frame| taken.push(frame)), count);
        let (now, heap) = (frames::counts().free, taken.capacity() * 8);
        assert!(before - now >= count as u64 && before - now <= (count + 2 * heap / PAGE_SIZE + 300) as u64);
        assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), count);
        frames::give(taken.into_iter());
    }
}

#[test_case]
fn giving_back_makes_the_count_exact_again() {
    let before = frames::counts().free;
    let mut taken = [const { None }; 700];
    let mut slots = taken.iter_mut();
    frames::take(700, |frame| *slots.next().expect("700") = Some(frame));
    assert_eq!(frames::counts().free, before - 700);
    frames::give(taken.into_iter().flatten());
    assert_eq!(frames::counts().free, before);
}

#[test_case]
fn runs_are_contiguous_and_can_be_given_back_singly() {
    let before = frames::counts().free;
    let run = frames::take_run(37).expect("a run");
    assert_eq!(frames::counts().free, before - 37);
    frames::give((0..30).map(|index| Frame::new(run.number() + index)));
    frames::give_run(Frame::new(run.number() + 30), 7);
    assert_eq!(frames::counts().free, before);
}

#[test_case]
fn huge_frames_are_aligned_and_merge_again() {
    frames::drain_magazines();
    let before = frames::counts();
    let huge = frames::take_huge().expect("a huge frame");
    assert!(huge.number().is_multiple_of(512));
    assert_eq!(frames::counts().free, before.free - 512);
    // Given back as single frames, they are a huge frame again.
    frames::give((0..512).map(|index| Frame::new(huge.number() + index)));
    frames::drain_magazines();
    assert_eq!(frames::counts(), before);
}

#[test_case]
fn zeroed_frames_are_zero() {
    let frame = frames::take_zeroed().expect("a frame");
    let bytes = direct_map::pointer(frame);
    // SAFETY: the frame is ours.
    unsafe { bytes.write_bytes(0xff, PAGE_SIZE) };
    frames::give(core::iter::once(frame));
    let again = frames::take_zeroed().expect("a frame");
    assert_eq!(again, frame, "the frame given last is taken first");
    // SAFETY: the frame is ours.
    let words = unsafe { bytes.cast::<[u64; PAGE_SIZE / 8]>().read_volatile() };
    assert!(words.iter().all(|&word| word == 0));
    frames::give(core::iter::once(again));
}

#[test_case]
fn every_frame_is_accounted_for() {
    let area = memory::vmalloc().vmalloc(700 * PAGE_SIZE).expect("memory enough");
    let (counts, users) = (frames::counts(), memory::users());
    let accounted = counts.free + users.page_tables + users.records + users.heap + users.areas;
    assert_eq!(accounted, counts.total);
    // SAFETY: allocated above, and used no more.
    unsafe { memory::vmalloc().vfree(area) }.expect("allocated");
}
