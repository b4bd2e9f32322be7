//! Room for one record, written by one CPU and read by all without a lock.
//!
//! A sequence number tells which record the slot holds, and none while it is written. A reader looks at it
//! before and after: if it is the same, what lies between was not written meanwhile.
//!
//! A new event needs a number in `encode` and in `decode`; the compiler checks only the first.

use super::Who;
use core::{
    panic::Location,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence},
};
use vmalloc::{AllocError, Cache, Event, Frame, Kind};

/// Two cache lines.
#[repr(align(128))]
pub(super) struct Slot {
    /// The record's number and one; 0 while there is none.
    sequence: AtomicU64,
    time: AtomicU64,
    /// What kind of event, and four values of it: see [`encode`].
    words: [AtomicU64; WORDS],
    /// The beginning of the thread's name, and its number.
    who: [AtomicU64; 3],
    /// Null or a caller, nothing else ever.
    caller: AtomicPtr<Location<'static>>,
}

const WORDS: usize = 5;
const _: () = assert!(size_of::<Slot>() == 128);

type Caller = Option<&'static Location<'static>>;

impl Slot {
    pub fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            time: AtomicU64::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
            who: [const { AtomicU64::new(0) }; 3],
            caller: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Called by one writer at a time.
    pub fn write(&self, number: u64, time: u64, who: Who, event: Event) {
        let (words, caller) = encode(event);
        self.sequence.store(0, Ordering::Relaxed);
        // Who finds anything of what follows finds the sequence number changed: `read` has the other fence.
        fence(Ordering::Release);
        self.time.store(time, Ordering::Relaxed);
        self.words.iter().zip(words).for_each(|(to, word)| to.store(word, Ordering::Relaxed));
        self.who.iter().zip(who.to_words()).for_each(|(to, word)| to.store(word, Ordering::Relaxed));
        let caller = caller.map_or(ptr::null(), ptr::from_ref);
        self.caller.store(caller.cast_mut(), Ordering::Relaxed);
        self.sequence.store(number + 1, Ordering::Release);
    }

    /// Time, thread and event of record `number`; `None` if it is not there, or is just going.
    pub fn read(&self, number: u64) -> Option<(u64, Who, Event)> {
        if self.sequence.load(Ordering::Acquire) != number + 1 {
            return None;
        }
        let time = self.time.load(Ordering::Relaxed);
        let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        let who = self.who.each_ref().map(|word| word.load(Ordering::Relaxed));
        let caller = self.caller.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) != number + 1 {
            return None;
        }
        // SAFETY: only `write` stores here, null or a `&'static Location`, each in one store.
        let caller = unsafe { caller.as_ref() };
        decode(words, caller).map(|event| (time, Who::from_words(who), event))
    }
}

const ALLOCATE: u64 = 1;
const ALLOCATE_FAILED: u64 = 2;
const FREE: u64 = 3;
const PURGE_BEGIN: u64 = 4;
const PURGE_END: u64 = 5;
const FLUSH: u64 = 6;
const FLUSH_ALL: u64 = 7;
const UNMAP_ALIASES: u64 = 8;
/// The kind of area, above what kind of event.
const KIND_SHIFT: u32 = 8;
/// Which error.
const ERROR_SHIFT: u32 = 16;
/// log2 of an alignment, above a number of 32 bits.
const ALIGN_SHIFT: u32 = 32;

#[deny(non_exhaustive_omitted_patterns)]
fn encode(event: Event) -> ([u64; WORDS], Caller) {
    match event {
        Event::Allocate { address, pages, size, align, kind, caller } => {
            let tag = ALLOCATE | (kind as u64) << KIND_SHIFT;
            ([tag, address as u64, pages as u64, size as u64, align as u64], Some(caller))
        }
        Event::AllocateFailed { error, size, align, kind, caller } => {
            let (which, first, second) = encode_error(error);
            let tag = ALLOCATE_FAILED | (kind as u64) << KIND_SHIFT | which << ERROR_SHIFT;
            ([tag, size as u64, first, second, align as u64], Some(caller))
        }
        Event::Free { address, pages, kind, waiting, caller } => {
            let tag = FREE | (kind as u64) << KIND_SHIFT;
            ([tag, address as u64, pages as u64, waiting.cast_unsigned(), 0], Some(caller))
        }
        Event::PurgeBegin { pages, caller } => ([PURGE_BEGIN, pages.cast_unsigned(), 0, 0, 0], Some(caller)),
        Event::PurgeEnd { pages } => ([PURGE_END, pages as u64, 0, 0, 0], None),
        Event::Flush { pages: Some(pages), caller } => ([FLUSH, pages as u64, 0, 0, 0], Some(caller)),
        Event::Flush { pages: None, caller } => ([FLUSH_ALL, 0, 0, 0, 0], Some(caller)),
        Event::UnmapAliases { caller } => ([UNMAP_ALIASES, 0, 0, 0, 0], Some(caller)),
        // Which `decode` does not know.
        _ => ([0; WORDS], None),
    }
}

fn decode(words: [u64; WORDS], caller: Caller) -> Option<Event> {
    const BYTE: u64 = 0xff;
    let [tag, first, second, third, fourth] = words;
    let (number, align) = (first as usize, fourth as usize);
    let kind = || {
        let kinds = [Kind::Vmalloc, Kind::Vmap, Kind::Ioremap, Kind::VmMapRam, Kind::Congruent];
        kinds.into_iter().find(|&kind| kind as u64 == tag >> KIND_SHIFT & BYTE)
    };
    Some(match tag & BYTE {
        ALLOCATE => {
            let (pages, size) = (second as usize, third as usize);
            Event::Allocate { address: number, pages, size, align, kind: kind()?, caller: caller? }
        }
        ALLOCATE_FAILED => {
            let error = decode_error(tag >> ERROR_SHIFT, second, third)?;
            Event::AllocateFailed { error, size: number, align, kind: kind()?, caller: caller? }
        }
        FREE => {
            let (pages, waiting) = (second as usize, third.cast_signed());
            Event::Free { address: number, pages, kind: kind()?, waiting, caller: caller? }
        }
        PURGE_BEGIN => Event::PurgeBegin { pages: first.cast_signed(), caller: caller? },
        PURGE_END => Event::PurgeEnd { pages: number },
        FLUSH => Event::Flush { pages: Some(number), caller: caller? },
        FLUSH_ALL => Event::Flush { pages: None, caller: caller? },
        UNMAP_ALIASES => Event::UnmapAliases { caller: caller? },
        _ => return None,
    })
}

/// In the order of their numbers.
const CACHES: [Cache; 4] = [Cache::WriteBack, Cache::WriteThrough, Cache::WriteCombining, Cache::Uncached];

#[deny(non_exhaustive_omitted_patterns)]
fn encode_error(error: AllocError) -> (u64, u64, u64) {
    match error {
        AllocError::ZeroSize => (0, 0, 0),
        AllocError::TooLarge { size } => (1, size as u64, 0),
        AllocError::BadAlignment { align } => (2, align as u64, 0),
        AllocError::OutOfAddressSpace { size, align, longest } => {
            (3, size as u64, u64::from(longest) | u64::from(align.trailing_zeros()) << ALIGN_SHIFT)
        }
        AllocError::OutOfFrames { needed, free } => (4, needed as u64, free as u64),
        AllocError::BadRange { start, end } => (5, start as u64, end as u64),
        AllocError::NoFrames => (6, 0, 0),
        AllocError::BadPhysicalRange { start, size } => (7, start, size as u64),
        AllocError::BadFrame { frame } => (8, frame.number(), 0),
        AllocError::CachedElsewhere { frame } => (9, frame.number(), 0),
        AllocError::InInterrupt => (10, 0, 0),
        AllocError::NoMemoryType { cache } => (11, cache as u64, 0),
        AllocError::NoAccess => (12, 0, 0),
        _ => (u64::MAX >> ERROR_SHIFT, 0, 0),
    }
}

fn decode_error(which: u64, first: u64, second: u64) -> Option<AllocError> {
    let number = first as usize;
    Some(match which {
        0 => AllocError::ZeroSize,
        1 => AllocError::TooLarge { size: number },
        2 => AllocError::BadAlignment { align: number },
        3 => {
            let align = 1_usize.checked_shl((second >> ALIGN_SHIFT) as u32)?;
            AllocError::OutOfAddressSpace { size: number, align, longest: second as u32 }
        }
        4 => AllocError::OutOfFrames { needed: number, free: second as usize },
        5 => AllocError::BadRange { start: number, end: second as usize },
        6 => AllocError::NoFrames,
        7 => AllocError::BadPhysicalRange { start: first, size: second as usize },
        8 => AllocError::BadFrame { frame: Frame::new(first) },
        9 => AllocError::CachedElsewhere { frame: Frame::new(first) },
        10 => AllocError::InInterrupt,
        11 => AllocError::NoMemoryType { cache: *CACHES.get(number)? },
        12 => AllocError::NoAccess,
        _ => return None,
    })
}
