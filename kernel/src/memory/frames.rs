//! The physical frames: a buddy allocator for all, and for each CPU a magazine of single frames.
//!
//! A CPU takes and gives single frames at its magazine; when that is empty, a part of it is filled from the
//! buddy in bulk, and when it is full the frames that are there longest go back.
//!
//! Locks: a magazine's, then the buddy's; the last of the kernel's order.

use super::direct_map;
use crate::{
    arch::cpu::Pin,
    lock_class,
    sync::{Once, SpinLock},
};
use core::{
    ops::Range,
    slice,
    sync::atomic::{AtomicUsize, Ordering},
};
use frames::{Buddy, Magazine};
use vmalloc::{BLOCK_PAGES, CpuPin, Frame, MAX_CPUS, PAGE_SHIFT, PAGE_SIZE};

/// Frames that a CPU keeps at most.
const MAGAZINE: usize = 512;
/// Frames taken or given in one section with preemption off. Each may have to be cleared, or merged with its
/// neighbours: some hundred instructions.
const PIECE: usize = 32;
/// Frames that come from the buddy in one such section.
const REFILL: usize = 128;
/// log2 of the page frames in a huge frame.
const HUGE_ORDER: usize = 9;

static BUDDY: Once<SpinLock<Buddy<'static>>> = Once::new();
/// Frames given to the buddy at boot.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static MAGAZINES: [SpinLock<Magazine<MAGAZINE>>; MAX_CPUS] =
    [const { SpinLock::new(lock_class!("magazine"), Magazine::new()) }; MAX_CPUS];

/// Counts of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All frames the kernel was given at boot, but those that the allocator itself lives in.
    pub total: u64,
    /// Frames that nobody has, those in magazines included.
    pub free: u64,
    /// Free frames in the CPUs' magazines.
    pub in_magazines: u64,
    /// 2 MiB frames that could be had at once.
    pub huge_free: u64,
}

/// Takes over usable memory: page-aligned physical ranges that do not overlap, lowest first.
/// Returns `false`, with nothing taken, if no range has room for the allocator's own bitmaps.
///
/// # Safety
/// Nobody else uses the memory, and the direct map shows it.
pub(crate) unsafe fn init(usable: impl Iterator<Item = Range<u64>> + Clone) -> bool {
    let usable = usable.map(|range| range.start >> PAGE_SHIFT..range.end >> PAGE_SHIFT);
    let (Some(first), Some(last)) = (usable.clone().next(), usable.clone().last()) else { return false };
    let span = first.start..last.end;
    let words = Buddy::storage_words(span.clone());
    let storage_frames = (words * 8).div_ceil(PAGE_SIZE) as u64;
    let room = |frames: &Range<u64>| frames.end - frames.start >= storage_frames;
    let Some(home) = usable.clone().find(room) else { return false };
    let storage = direct_map::pointer(Frame::new(home.start)).cast::<u64>();
    // SAFETY: the frames are usable memory that the caller handed over, shown by the direct map;
    // they are not given to the buddy below. Any bit pattern is a valid u64.
    let storage = unsafe { slice::from_raw_parts_mut(storage.as_ptr(), words) };
    let mut buddy = Buddy::new(span, storage);
    for mut frames in usable {
        if frames.start == home.start {
            frames.start += storage_frames;
        }
        if let Err(error) = buddy.add(frames) {
            panic!("the memory map is broken: {error}");
        }
    }
    TOTAL.store(buddy.total() as usize, Ordering::Relaxed);
    BUDDY.call_once(|| SpinLock::new(lock_class!("buddy"), buddy));
    true
}

fn buddy() -> &'static SpinLock<Buddy<'static>> {
    match BUDDY.get() {
        Some(buddy) => buddy,
        None => panic!("frames are asked for before there are any"),
    }
}

/// All frames there are, taken or not.
#[inline]
pub fn total() -> usize {
    TOTAL.load(Ordering::Relaxed)
}

/// Takes up to `count` single frames, gives each to `sink`, and returns how many there were. Preemption is
/// off for some frames at a time.
#[inline]
pub fn take(count: usize, mut sink: impl FnMut(Frame)) -> usize {
    let mut taken = 0;
    while taken < count {
        let pin = Pin::new();
        let mut magazine = MAGAZINES[pin.cpu()].lock_pinned(&pin);
        let some = magazine.pop_many((count - taken).min(PIECE), |frame| sink(Frame::new(frame)));
        if some == 0 && magazine.refill_by(REFILL, &mut buddy().lock_pinned(&pin)) == 0 {
            break;
        }
        taken += some;
    }
    taken
}

/// Gives single frames back. Preemption is off for some frames at a time.
#[inline]
pub fn give(mut frames: impl Iterator<Item = Frame>) {
    loop {
        let pin = Pin::new();
        let mut magazine = MAGAZINES[pin.cpu()].lock_pinned(&pin);
        if magazine.is_full() {
            let rest = magazine.len() - PIECE;
            returned(magazine.drain_to(rest, &mut buddy().lock_pinned(&pin)));
        }
        for _ in 0..PIECE {
            let Some(frame) = frames.next() else { return };
            if let Err(full) = magazine.push(frame.number()) {
                returned(buddy().lock_pinned(&pin).free(full.0, 0));
                break;
            }
        }
    }
}

/// Takes a single frame full of zeros.
pub fn take_zeroed() -> Option<Frame> {
    let mut found = None;
    take(1, |frame| found = Some(frame));
    let frame = found?;
    // SAFETY: the frame is ours, and the direct map shows it.
    unsafe { direct_map::pointer(frame).cast::<[u64; PAGE_SIZE / 8]>().write([0; PAGE_SIZE / 8]) };
    Some(frame)
}

/// Takes a huge frame: 512 contiguous frames, aligned to their size; the first of them.
pub fn take_huge() -> Option<Frame> {
    buddy().lock().allocate(HUGE_ORDER).map(Frame::new)
}

/// Gives a huge frame back.
pub fn give_huge(first: Frame) {
    returned(buddy().lock().free(first.number(), HUGE_ORDER));
}

/// Takes a contiguous run of up to 1024 frames; the first of them.
pub fn take_run(count: usize) -> Option<Frame> {
    buddy().lock().allocate_run(count as u64).map(|run| Frame::new(run.start))
}

/// Gives back `count` contiguous frames, taken together or singly.
pub fn give_run(first: Frame, count: usize) {
    returned(buddy().lock().free_run(first.number()..first.number() + count as u64));
}

/// Empties all magazines into the buddy, so that it can merge what was split.
pub fn drain_magazines() {
    for magazine in &MAGAZINES {
        returned(magazine.lock().drain_to(0, &mut buddy().lock()));
    }
}

/// Counts, exact while no other CPU takes or gives frames.
pub fn counts() -> Counts {
    let in_magazines = MAGAZINES.iter().map(|magazine| magazine.lock().len() as u64).sum();
    let buddy = buddy().lock();
    let huge_free =
        (HUGE_ORDER..=frames::MAX_ORDER).map(|order| buddy.free_blocks(order) << (order - HUGE_ORDER)).sum();
    Counts { total: buddy.total(), free: buddy.free_frames() + in_magazines, in_magazines, huge_free }
}

/// Whoever gives back what was not taken has broken an invariant.
fn returned(result: Result<(), frames::FreeError>) {
    if let Err(error) = result {
        panic!("a frame was given back wrongly: {error}");
    }
}

const _: () = assert!(1 << HUGE_ORDER == BLOCK_PAGES && HUGE_ORDER <= frames::MAX_ORDER);
