//! Frames for the kernel itself: before a request is refused, everybody who caches frames for speed gives them back.
//!
//! | who caches | what | asked for it by |
//! |---|---|---|
//! | the magazines of CPUs and of page tables | single free frames | every request: see [`frames`] |
//! | the kernel's vmalloc instance | frames of free pages, empty blocks and runs, page tables | its own requests; [`reclaim`] |
//! | per-CPU memory, the heap | a chunk each in which no object lies | a purge notifier; [`reclaim`] |
//! | areas that wait for a grace period | all they have | a purge notifier; [`reclaim`] |
//!
//! So whoever allocates from the kernel's instance (the heap, stacks, per-CPU memory) need not come here, and
//! [`Experiment`](super::Experiment)s come here by a notifier of their own. The instance's machine must not: the
//! library asks it for frames where it may not be called again.
//!
//! Called where [`frames`] may be; what is cached is asked for only where the caller may wait, and once.

use super::rcu;
use crate::{
    memory::{frames, heap, percpu, vmalloc},
    threads,
};
use vmalloc::{AllocError, Frame, PurgeNotifier};

/// Takes up to `count` single frames, gives each to `sink`, and returns how many there were. `sink` takes or gives no
/// frames.
pub fn take(count: usize, mut sink: impl FnMut(Frame)) -> usize {
    let mut taken = frames::take(count, &mut sink);
    // What costs least first.
    if taken < count && threads::may_block() && vmalloc().shrink(count - taken) > 0 {
        taken += frames::take(count - taken, &mut sink);
    }
    if taken == count || !reclaim() {
        return taken;
    }
    taken + frames::take(count - taken, sink)
}

/// Takes a frame full of zeros, as [`frames::take_table`] does.
pub fn take_table() -> Option<Frame> {
    again(frames::take_table)
}

/// Takes a huge frame, as [`frames::take_huge`] does.
pub fn take_huge() -> Option<Frame> {
    again(frames::take_huge)
}

fn again(take: impl Fn() -> Option<Frame>) -> Option<Frame> {
    take().or_else(|| if reclaim() { take() } else { None })
}

/// Has everybody in the kernel give back the frames that they keep for speed, the magazines excepted. `false`, at
/// once, if the caller may not wait. Called with no lock held.
pub fn reclaim() -> bool {
    let may = threads::may_block();
    if may {
        rcu::vfree_rcu_barrier();
        percpu::trim();
        heap::trim();
        vmalloc().trim();
    }
    may
}

/// Calls [`reclaim`], and answers whether there are more free frames then. What others take meanwhile hides what came.
pub fn reclaim_some() -> bool {
    let before = frames::free();
    reclaim() && frames::free() > before
}

/// Another instance's allocation found no frames. Answers whether there are more now: another attempt costs a pass over
/// all that the instance keeps.
pub(super) struct KernelKeeps;

impl PurgeNotifier for KernelKeeps {
    fn purge(&self, error: AllocError) -> bool {
        matches!(error, AllocError::OutOfFrames { .. }) && reclaim_some()
    }
}

/// An allocation of the kernel's instance failed: the empty chunks of per-CPU memory and of the heap go back to it.
struct EmptyChunks;

impl PurgeNotifier for EmptyChunks {
    fn purge(&self, _: AllocError) -> bool {
        percpu::trim() | heap::trim()
    }
}

/// Has the kernel's instance ask per-CPU memory and the heap. Called once, at boot.
pub(super) fn init() {
    assert!(vmalloc().register_notifier(&EmptyChunks), "the kernel's instance has room for its notifiers");
}
