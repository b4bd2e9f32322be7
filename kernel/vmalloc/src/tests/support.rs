//! What the tests share: instances on simulated machines, and the calls as tests make them.

extern crate std;

use super::machine::{Machine, PageFault, Random};
use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SIZE, CongruentSet, Frame, FreeError, PAGE_SIZE, Platform, Policy,
    PopulateError, ProtectError, Protection, ReallocError, Request, Reuse, Slack, Vmalloc, Zeroing,
};
use core::{ops::Range, ptr::NonNull, sync::atomic::Ordering};
use std::{boxed::Box, sync::Arc, vec::Vec};

/// An instance on a machine that stays.
pub(crate) type Instance = Vmalloc<&'static Machine>;

/// An instance that what other CPUs do may use, too.
pub(crate) type Shared = Arc<Instance>;

/// The policy of this project's kernel. It trusts dirty bits, so that the tests see whether they are right, and parks what
/// is freed in debug builds, too.
pub(crate) fn policy() -> Policy {
    Policy::default().zeroing(Zeroing::TrustDirty).slack(Slack::Ignored)
}

/// In the upper half, and not at the start of a directory.
pub(crate) const START: usize = 0xffff_c900_4000_0000 + 6 * BLOCK_SIZE;

pub(crate) fn instance(machine: &Machine, blocks: usize) -> Vmalloc<&Machine> {
    instance_by(machine, blocks, policy())
}

/// An instance in which every freed page waits for a flush.
pub(crate) fn flushing(machine: &Machine, blocks: usize) -> Vmalloc<&Machine> {
    instance_by(machine, blocks, policy().reuse(Reuse::AfterFlush))
}

/// An instance whose freed pages wait as long as on a machine with much memory, until the test purges.
pub(crate) fn instance_by(machine: &Machine, blocks: usize, policy: Policy) -> Vmalloc<&Machine> {
    let vmalloc = plain_instance(machine, blocks, policy);
    let by_cpus = 1 + Platform::shootdown(&machine).online_count().ilog2() as usize;
    vmalloc.tunables().lazy_max_pages.store(by_cpus * 8192, Ordering::Relaxed);
    vmalloc
}

pub(crate) fn plain_instance(machine: &Machine, blocks: usize, policy: Policy) -> Vmalloc<&Machine> {
    // SAFETY: the machine's address space has nothing else in it.
    unsafe { Vmalloc::with_policy(machine, START..START + blocks * BLOCK_SIZE, policy) }
        .expect("frames enough")
}

pub(crate) fn address(area: NonNull<u8>) -> usize {
    area.as_ptr() as usize
}

#[track_caller]
pub(crate) fn free(vmalloc: &Vmalloc<&Machine>, area: NonNull<u8>) -> Result<(), FreeError> {
    // SAFETY: simulated memory; the test does not use the area afterwards but to see it fault.
    unsafe { vmalloc.vfree(area) }
}

pub(crate) fn at(address: usize) -> NonNull<u8> {
    NonNull::new(address as *mut u8).expect("not null")
}

pub(crate) fn take(machine: &Machine, count: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    assert_eq!(machine.take_frames(count, |frame| frames.push(frame)), count);
    frames
}

/// The frames of `count` 2 MiB frames, in their order.
pub(crate) fn take_huge(machine: &Machine, count: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for _ in 0..count {
        let first = machine.take_huge_frame().expect("enough").number();
        frames.extend((first..).take(BLOCK_PAGES).map(Frame::new));
    }
    frames
}

#[track_caller]
pub(crate) fn unmap(vmalloc: &Vmalloc<&Machine>, area: NonNull<u8>) -> Result<(), FreeError> {
    // SAFETY: simulated memory; the test does not use the area afterwards but to see it fault.
    unsafe { vmalloc.vunmap(area) }
}

#[track_caller]
pub(crate) fn resize(
    vmalloc: &Vmalloc<&Machine>,
    area: NonNull<u8>,
    pages: usize,
) -> Result<NonNull<u8>, ReallocError> {
    // SAFETY: the test goes on with the result alone.
    unsafe { vmalloc.vrealloc(area, pages * PAGE_SIZE) }
}

#[track_caller]
pub(crate) fn protect(
    vmalloc: &Vmalloc<&Machine>,
    start: usize,
    pages: usize,
    protection: Protection,
) -> Result<(), ProtectError> {
    // SAFETY: simulated memory.
    unsafe { vmalloc.set_protection(at(start), pages * PAGE_SIZE, protection) }
}

pub(crate) fn assert_marks(
    machine: &Machine,
    cpu: usize,
    start: usize,
    pages: core::ops::Range<usize>,
    base: usize,
) {
    for page in pages {
        assert_eq!(machine.read(cpu, start + page * PAGE_SIZE), Ok((base + page) as u64), "page {page}");
    }
}

pub(crate) fn populate(
    vmalloc: &Vmalloc<&Machine>,
    set: CongruentSet,
    pages: Range<usize>,
) -> Result<(), PopulateError> {
    // SAFETY: sets are freed by this thread alone; one that was has no other in its place, and its records stay.
    unsafe { vmalloc.populate(set, pages) }
}

pub(crate) fn map_ram(vmalloc: &Vmalloc<&Machine>, frames: &[Frame]) -> Result<NonNull<u8>, AllocError> {
    vmalloc.vm_map_ram(frames, Protection::ReadWrite)
}

pub(crate) fn unmap_ram(
    vmalloc: &Vmalloc<&Machine>,
    start: NonNull<u8>,
    count: usize,
) -> Result<(), FreeError> {
    // SAFETY: simulated memory; the test does not use the mapping afterwards but to see it fault.
    unsafe { vmalloc.vm_unmap_ram(start, count) }
}

/// A machine and an instance that others can use while a call of a test lasts; they stay.
pub(crate) fn leaked(cpus: usize, frames: usize, blocks: usize) -> (&'static Machine, &'static Instance) {
    let machine: &_ = Box::leak(Box::new(Machine::new(cpus, frames)));
    (machine, Box::leak(Box::new(instance(machine, blocks))))
}

/// A machine, which stays, and an instance that what other CPUs do may use, too.
pub(crate) fn shared(cpus: usize, frames: usize, blocks: usize) -> (&'static Machine, Shared) {
    let machine = Box::leak(Box::new(Machine::new(cpus, frames)));
    (machine, Arc::new(instance(machine, blocks)))
}

/// Writes each page's own address into it.
pub(crate) fn mark(machine: &Machine, start: usize, pages: core::ops::Range<usize>, base: usize) {
    for page in pages {
        machine.write(0, start + page * PAGE_SIZE, (base + page) as u64).expect("mapped");
    }
}

/// Where its areas were, in the order of their allocation.
pub(crate) fn random_work(machine: &Machine, seed: u64) -> Vec<usize> {
    let cpus = Platform::shootdown(&machine).online().count();
    let vmalloc = instance(machine, 48);
    let mut random = Random::new(seed);
    let mut placed = Vec::new();
    let mut live: Vec<(NonNull<u8>, usize)> = Vec::new();
    for step in 0..4000 {
        machine.run_on(random.below(cpus));
        if random.below(100) < 45 && !live.is_empty() {
            let (area, pages) = live.swap_remove(random.below(live.len()));
            for page in 0..pages {
                let word = address(area) + page * PAGE_SIZE;
                assert_eq!(machine.read(random.below(cpus), word), Ok(word as u64), "overwritten");
            }
            free(&vmalloc, area).expect("allocated");
            continue;
        }
        let most = random.pick(&[2, 20, 200, 1500]);
        let pages = 1 + random.below(most);
        let mut request = Request::new(pages * PAGE_SIZE).align(1 << random.below(23));
        if random.below(2) == 0 {
            request = request.huge();
        }
        let Ok(area) = vmalloc.allocate(request) else { continue };
        for page in 0..pages {
            let word = address(area) + page * PAGE_SIZE;
            machine.write(random.below(cpus), word, word as u64).expect("mapped");
        }
        assert_eq!(machine.read(0, address(area) + pages * PAGE_SIZE), Err(PageFault), "guard");
        live.push((area, pages));
        placed.push(address(area));
        if step % 500 == 0 {
            machine.check();
            let mut known: Vec<_> = live.iter().map(|&(area, pages)| (address(area), pages)).collect();
            known.sort_unstable();
            let found: Vec<_> = vmalloc.areas().map(|area| (area.start, area.pages)).collect();
            assert_eq!(found, known);
        }
    }
    live.into_iter().for_each(|(area, _)| free(&vmalloc, area).expect("allocated"));
    machine.check();
    vmalloc.trim();
    assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
    drop(vmalloc);
    machine.assert_all_frames_back();
    placed
}

/// Gives the instance back, and asserts that the machine has all frames then.
pub(crate) fn assert_balanced(machine: &Machine, vmalloc: Shared) {
    machine.end_interleaving();
    drop(Arc::into_inner(vmalloc).expect("nobody else has it"));
    machine.assert_all_frames_back();
}
