//! The physical frames: a buddy allocator for all, for each CPU a magazine of single frames, and one of frames for
//! page tables.
//!
//! A CPU takes and gives single frames at its magazine; when that is empty, a part of it is filled from the
//! buddy in bulk, and when it is full the frames that are there longest go back. Page tables, and the records beside
//! them, have a magazine that all CPUs share, so that they lie side by side, not each among the frames that it maps.
//! Whoever walks through many tables then meets few large pages of the direct map, or of the machine below. Before a
//! request is refused all magazines are used up: single frames are taken out of them, for contiguous ones they are
//! emptied into the buddy, which merges.
//!
//! Nobody but the magazines is asked to give anything back: that is for a room above, `services`, whose callers may
//! wait.
//!
//! All calls may be made in threads, pinned or not, with interrupts on or off; not in interrupt handlers, which may
//! have interrupted who holds a lock. Debug builds refuse that always, release builds where the lock is held.
//!
//! Locks: a magazine's, one at a time; then the buddy's; the last of the kernel's order.

use crate::{
    arch::{
        cpu::{self, MAX_CPUS, Pin},
        paging::direct_map,
    },
    lock_class,
    sync::{Once, SpinLock},
};
use core::{
    ops::Range,
    slice,
    sync::atomic::{AtomicUsize, Ordering},
};
use frames::{Buddy, Magazine};
use vmalloc::{AllocError, BLOCK_PAGES, Frame, PAGE_SHIFT, PAGE_SIZE};

/// Frames that a magazine has at most.
const MAGAZINE: usize = 512;
/// Frames taken or given in one section with preemption off. Each may have to be cleared, or merged with its
/// neighbours: some hundred instructions.
const PIECE: usize = 32;
/// Frames that come from the buddy in one such section.
const REFILL: usize = 128;
/// log2 of the page frames in a huge frame.
const HUGE_ORDER: usize = 9;
/// How often a request looks everywhere before it is refused, if frames move meanwhile.
const ROUNDS: usize = 8;

static BUDDY: Once<SpinLock<Buddy<'static>>> = Once::new();
/// Frames given to the buddy at boot.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
/// Times that frames went from the buddy into a magazine; changed under the buddy's lock.
static REFILLS: AtomicUsize = AtomicUsize::new(0);
/// By CPU.
static MAGAZINES: [SpinLock<Magazine<MAGAZINE>>; MAX_CPUS] =
    [const { SpinLock::new(lock_class!("magazine"), Magazine::new()) }; MAX_CPUS];
/// Frames for page tables, of all CPUs.
static TABLES: SpinLock<Magazine<MAGAZINE>> =
    SpinLock::new(lock_class!("magazine of page tables"), Magazine::new());

/// Counts of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All frames the kernel was given at boot, but those that the allocator itself lives in.
    pub total: u64,
    /// Frames that nobody has, those in magazines included.
    pub free: u64,
    /// Free frames in magazines.
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

/// The magazines of all CPUs, and that of page tables.
fn magazines() -> impl Iterator<Item = &'static SpinLock<Magazine<MAGAZINE>>> {
    cpu::online().iter().map(|cpu| &MAGAZINES[cpu]).chain([&TABLES])
}

/// All frames there are, taken or not.
#[inline]
pub fn total() -> usize {
    TOTAL.load(Ordering::Relaxed)
}

/// Takes up to `count` single frames, gives each to `sink`, and returns how many there were: fewer than `count` only
/// if no magazine has any, nor the buddy. Preemption is off for some frames at a time; `sink` is called then,
/// and takes or gives no frames.
#[inline]
pub fn take(count: usize, mut sink: impl FnMut(Frame)) -> usize {
    cpu::debug_assert_no_interrupt("frames::take");
    let mut taken = 0;
    while taken < count {
        let pin = Pin::new();
        let mut magazine = MAGAZINES[pin.cpu()].lock_pinned(&pin);
        let some = magazine.pop_many((count - taken).min(PIECE), |frame| sink(Frame::new(frame)));
        if some == 0 && !refill(&mut magazine, &pin) {
            drop(magazine);
            drop(pin);
            return taken + take_anywhere(count - taken, &mut sink);
        }
        taken += some;
    }
    taken
}

/// Fills an empty magazine in part; `false`: the buddy has no frames.
#[inline]
fn refill(magazine: &mut Magazine<MAGAZINE>, pin: &Pin) -> bool {
    let mut buddy = buddy().lock_pinned(pin);
    let some = magazine.refill_by(REFILL, &mut buddy) > 0;
    if some {
        REFILLS.fetch_add(1, Ordering::Relaxed);
    }
    some
}

/// Takes up to `count` frames out of all magazines, and out of the buddy, without refilling any.
#[cold]
#[inline(never)]
fn take_anywhere(count: usize, sink: &mut dyn FnMut(Frame)) -> usize {
    let mut taken = 0;
    look_everywhere(|| {
        for magazine in magazines() {
            taken += in_pieces(count - taken, |pin, piece| {
                magazine.lock_pinned(pin).pop_many(piece, |frame| sink(Frame::new(frame)))
            });
        }
        taken += in_pieces(count - taken, |pin, piece| {
            buddy().lock_pinned(pin).allocate_bulk(piece, |frame| sink(Frame::new(frame)))
        });
        (taken == count).then_some(())
    });
    taken
}

/// Calls `some` for as many frames as one section with preemption off may have, until it took `count` in all, or
/// fewer than it was asked for: how many it took.
fn in_pieces(count: usize, mut some: impl FnMut(&Pin, usize) -> usize) -> usize {
    let mut taken = 0;
    while taken < count {
        let piece = (count - taken).min(PIECE);
        let got = some(&Pin::new(), piece);
        taken += got;
        if got < piece {
            break;
        }
    }
    taken
}

/// Calls `attempt`, which looks for frames in all magazines and then in the buddy, until it finds enough. What a
/// magazine gives to the buddy meanwhile is found there; what goes the other way may be missed, so if that happened
/// it is called again, [`ROUNDS`] times at most.
fn look_everywhere<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..ROUNDS {
        // What was refilled before is seen by the attempt: both take the buddy's lock, or the magazine's.
        let refills = REFILLS.load(Ordering::Relaxed);
        let found = attempt();
        if found.is_some() || refills == REFILLS.load(Ordering::Relaxed) {
            return found;
        }
    }
    None
}

/// Gives single frames back. Preemption is off for some frames at a time; `frames` is asked for them then, and takes
/// or gives no frames itself.
///
/// # Safety
/// The frames were taken here, by any call, and nobody uses them any more.
#[inline]
pub unsafe fn give(mut frames: impl Iterator<Item = Frame>) {
    cpu::debug_assert_no_interrupt("frames::give");
    loop {
        let pin = Pin::new();
        let mut magazine = MAGAZINES[pin.cpu()].lock_pinned(&pin);
        make_room(&mut magazine, &pin);
        for _ in 0..PIECE {
            let Some(frame) = frames.next() else { return };
            if let Err(full) = magazine.push(frame.number()) {
                returned(buddy().lock_pinned(&pin).free(full.0, 0));
                break;
            }
        }
    }
}

/// Gives to the buddy what a full magazine has had longest.
#[inline]
fn make_room(magazine: &mut Magazine<MAGAZINE>, pin: &Pin) {
    if magazine.is_full() {
        let rest = magazine.len() - PIECE;
        returned(magazine.drain_to(rest, &mut buddy().lock_pinned(pin)));
    }
}

/// Takes a frame full of zeros for a page table, or for a record that is asked for as rarely: they lie side by side.
pub fn take_table() -> Option<Frame> {
    cpu::debug_assert_no_interrupt("frames::take_table");
    let mut found = {
        let pin = Pin::new();
        let mut tables = TABLES.lock_pinned(&pin);
        let first = tables.pop();
        first.or_else(|| refill(&mut tables, &pin).then(|| tables.pop()).flatten()).map(Frame::new)
    };
    if found.is_none() {
        take_anywhere(1, &mut |frame| found = Some(frame));
    }
    let frame = found?;
    // SAFETY: the frame is ours, and the direct map shows it.
    unsafe { direct_map::pointer(frame).cast::<[u64; PAGE_SIZE / 8]>().write([0; PAGE_SIZE / 8]) };
    Some(frame)
}

/// Gives a frame back, with any contents, to those for page tables.
///
/// # Safety
/// The frame was taken here, by any call, and nobody uses it any more.
pub unsafe fn give_table(frame: Frame) {
    cpu::debug_assert_no_interrupt("frames::give_table");
    let pin = Pin::new();
    let mut tables = TABLES.lock_pinned(&pin);
    make_room(&mut tables, &pin);
    if let Err(full) = tables.push(frame.number()) {
        unreachable!("room was made for frame {:#x}", full.0);
    }
}

/// Takes a huge frame: 512 contiguous frames, aligned to their size; the first of them.
pub fn take_huge() -> Option<Frame> {
    contiguous(allocate_huge)
}

/// Takes a huge frame if the buddy has one as things stand. Where it has not, no magazine is emptied: for callers that
/// use small frames as well, and ask once for each block.
pub fn take_huge_at_hand() -> Option<Frame> {
    cpu::debug_assert_no_interrupt("frames::take_huge_at_hand");
    allocate_huge(&mut buddy().lock())
}

fn allocate_huge(buddy: &mut Buddy<'static>) -> Option<Frame> {
    buddy.allocate(HUGE_ORDER).map(Frame::new)
}

/// Takes a contiguous run of up to 1024 frames; the first of them. `None` also for a run of 0, or of more.
pub fn take_run(count: usize) -> Option<Frame> {
    contiguous(|buddy| buddy.allocate_run(count as u64).map(|run| Frame::new(run.start)))
}

/// Takes contiguous frames from the buddy: if that has none at first, after all magazines were emptied into it.
fn contiguous(take: impl Fn(&mut Buddy<'static>) -> Option<Frame>) -> Option<Frame> {
    cpu::debug_assert_no_interrupt("a call for contiguous frames");
    let attempt = || take(&mut buddy().lock());
    attempt().or_else(|| {
        look_everywhere(|| {
            drain_magazines();
            attempt()
        })
    })
}

/// Gives a huge frame back.
///
/// # Safety
/// Its 512 frames were taken here, and nobody uses them any more.
pub unsafe fn give_huge(first: Frame) {
    returned(buddy().lock().free(first.number(), HUGE_ORDER));
}

/// Gives back `count` contiguous frames, taken together or singly.
///
/// # Safety
/// The frames were taken here, and nobody uses them any more.
pub unsafe fn give_run(first: Frame, count: usize) {
    returned(buddy().lock().free_run(first.number()..first.number() + count as u64));
}

/// Empties all magazines into the buddy, so that it can merge what was split. What is given meanwhile may stay in them.
pub fn drain_magazines() {
    for magazine in magazines() {
        in_pieces(MAGAZINE, |pin, piece| {
            let mut magazine = magazine.lock_pinned(pin);
            let before = magazine.len();
            returned(magazine.drain_to(before.saturating_sub(piece), &mut buddy().lock_pinned(pin)));
            before - magazine.len()
        });
    }
}

/// What to say where so many frames were not to be had.
pub fn shortage(needed: usize) -> AllocError {
    AllocError::OutOfFrames { needed, free: free() }
}

/// Frames that nobody has, those in magazines included: never fewer than there are all the time, but perhaps more
/// while others take or give.
pub fn free() -> usize {
    let in_buddy = || buddy().lock().free_frames();
    // What goes from the buddy to a magazine is counted before, and what goes to the buddy behind.
    let before = in_buddy();
    let in_magazines: u64 = magazines().map(|magazine| magazine.lock().len() as u64).sum();
    (before.max(in_buddy()) + in_magazines) as usize
}

/// Counts, exact while no other CPU takes or gives frames.
pub fn counts() -> Counts {
    let in_magazines = MAGAZINES.iter().chain([&TABLES]).map(|magazine| magazine.lock().len() as u64).sum();
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
