//! Remembered frees: a ring of the last ones, in frames of the machine's that exist only while needed.
//!
//! Any CPU writes, in any context, and waits for nobody: it takes a number, and with it a place in the ring.
//! A writer that comes to a place in which another one is still writing, because that CPU does not run, does
//! not record its free. A reader looks at the number before and after it has read, as with a sequence lock.
//! Both are pinned meanwhile, so the frames can go after a grace period.

use crate::{
    CpuPin, MAX_CPUS, PAGE_SIZE, Platform,
    atomic::framed::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    framed::{Framed, Zeroable},
    types::{
        Caller,
        area::{AreaInfo, Kind},
        whatis::freed::Freed,
    },
};
use core::{
    panic::Location,
    ptr::{self, NonNull},
};

/// Places of a frame.
const PLACES: usize = PAGE_SIZE / size_of::<Place>();
/// Frames with places, at the most.
const CHUNKS: usize = PAGE_SIZE / size_of::<usize>();

/// Frees that can be remembered, at the most.
pub(crate) const MOST: usize = CHUNKS * PLACES;

/// One free.
#[repr(C, align(64))]
struct Place {
    /// Twice its number and two; one less while it is written; 0 before.
    sequence: AtomicU64,
    start: AtomicUsize,
    /// Pages in the lowest 32 bits, then the kind, the CPU, and bytes that were not asked for.
    what: AtomicU64,
    allocated_by: AtomicPtr<Location<'static>>,
    freed_by: AtomicPtr<Location<'static>>,
    time: AtomicU64,
    thread: [AtomicU64; 2],
}

const _: () = assert!(size_of::<Place>() == 64);

type Chunk = [Place; PLACES];
type Directory = [AtomicPtr<Chunk>; CHUNKS];

// SAFETY: atomic numbers and pointers, all of which may be zero.
unsafe impl Zeroable for Chunk {}

const PAGES: u64 = (1 << KIND_SHIFT) - 1;
const KIND_SHIFT: u32 = 32;
const CPU_SHIFT: u32 = KIND_SHIFT + 8;
const SLACK_SHIFT: u32 = CPU_SHIFT + 10;
const _: () = assert!(MAX_CPUS <= 1 << (SLACK_SHIFT - CPU_SHIFT) && 2 * PAGE_SIZE <= 1 << (64 - SLACK_SHIFT));

/// The ring of an instance.
pub(crate) struct Remembered {
    directory: AtomicPtr<Directory>,
    /// Frames with places that are in use.
    chunks: AtomicUsize,
    /// The next free's number.
    next: AtomicU64,
    changing: AtomicBool,
}

impl Remembered {
    pub const fn new() -> Self {
        Self {
            directory: AtomicPtr::new(ptr::null_mut()),
            chunks: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            changing: AtomicBool::new(false),
        }
    }

    /// Changes how many frees are remembered, and forgets those that were. `switch` is told whether any are
    /// to be, and sees to it that frees are reported from then on. Returns `false` if there are too few
    /// frames, and remembers none; or if somebody else is changing it, and does nothing.
    pub fn set<P: Platform>(&self, platform: &P, count: usize, switch: impl Fn(bool)) -> bool {
        if self.changing.swap(true, Ordering::Acquire) {
            return false;
        }
        switch(false);
        self.chunks.store(0, Ordering::Release);
        // Where nobody can wait for who reads, the frames stay for the next time.
        let nobody_reads = platform.synchronize();
        if nobody_reads {
            self.give_frames(platform);
        }
        let chunks = count.min(MOST).div_ceil(PLACES);
        let is_made = chunks == 0 || self.make(platform, chunks);
        if !is_made && nobody_reads {
            self.give_frames(platform);
        }
        if is_made && chunks > 0 {
            // Release: who finds them in use finds them made.
            self.chunks.store(chunks, Ordering::Release);
            switch(true);
        }
        self.changing.store(false, Ordering::Release);
        is_made
    }

    /// Makes frames with places as far as they are missing. Nobody reads or writes there.
    fn make<P: Platform>(&self, platform: &P, chunks: usize) -> bool {
        let Some(directory) = self.directory(platform) else { return false };
        for link in &directory[..chunks] {
            match NonNull::new(link.load(Ordering::Relaxed)) {
                Some(chunk) => {
                    // SAFETY: what is linked is a chunk that stays while `changing` is set.
                    unsafe { chunk.as_ref() }
                        .iter()
                        .for_each(|place| place.sequence.store(0, Ordering::Relaxed));
                }
                None => match Framed::<Chunk>::zeroed(platform) {
                    Some(chunk) => link.store(chunk.pointer().as_ptr(), Ordering::Relaxed),
                    None => return false,
                },
            }
        }
        true
    }

    fn directory<P: Platform>(&self, platform: &P) -> Option<&Directory> {
        if self.directory.load(Ordering::Relaxed).is_null() {
            let directory = Framed::<Directory>::zeroed(platform)?;
            self.directory.store(directory.pointer().as_ptr(), Ordering::Release);
        }
        // SAFETY: it stays while `changing` is set, which the caller has.
        unsafe { self.directory.load(Ordering::Relaxed).as_ref() }
    }

    /// Gives all frames back. Nobody uses them any more, nor changes anything.
    fn give_frames<P: Platform>(&self, platform: &P) {
        let Some(directory) = NonNull::new(self.directory.swap(ptr::null_mut(), Ordering::Relaxed)) else {
            return;
        };
        // SAFETY: `directory` made it of a frame, and it goes back below, once.
        let mut directory = unsafe { Framed::from_pointer(directory) };
        for link in directory.iter_mut() {
            if let Some(chunk) = NonNull::new(*link.get_mut()) {
                // SAFETY: as above, of `make`.
                unsafe { Framed::from_pointer(chunk) }.release(platform);
            }
        }
        directory.release(platform);
    }

    /// Gives all frames back, of an instance that is dropped.
    pub fn release<P: Platform>(&mut self, platform: &P) {
        self.give_frames(platform);
    }

    /// Returns how many frees are remembered at most.
    pub fn capacity(&self) -> usize {
        self.chunks.load(Ordering::Relaxed) * PLACES
    }

    /// Returns how many frames it has, while any are in use.
    pub fn frames(&self, _pin: &impl CpuPin) -> usize {
        if self.chunks.load(Ordering::Acquire) == 0 {
            return 0;
        }
        // SAFETY: it was linked while it was in use, and stays while there is the pin.
        let directory = unsafe { self.directory.load(Ordering::Acquire).as_ref() };
        let linked = |directory: &Directory| {
            directory.iter().filter(|link| !link.load(Ordering::Relaxed).is_null()).count()
        };
        directory.map_or(0, |directory| 1 + linked(directory))
    }

    fn place(&self, number: u64, _pin: &impl CpuPin) -> Option<&Place> {
        // Acquire: what is in use was made.
        let chunks = self.chunks.load(Ordering::Acquire);
        let index = number.checked_rem((chunks * PLACES) as u64)? as usize;
        // SAFETY: it was linked while it was in use, and stays while there is the pin.
        let directory = unsafe { self.directory.load(Ordering::Acquire).as_ref()? };
        // SAFETY: as above.
        let chunk = unsafe { directory[index / PLACES].load(Ordering::Relaxed).as_ref()? };
        Some(&chunk[index % PLACES])
    }

    /// Remembers that an area was freed.
    pub fn remember<P: Platform>(&self, platform: &P, area: &AreaInfo, freed_by: Caller) {
        let pin = platform.pin();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(place) = self.place(number, &pin) else { return };
        let before = place.sequence.load(Ordering::Relaxed);
        let is_free = before % 2 == 0
            && place
                .sequence
                .compare_exchange(before, 2 * number + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !is_free {
            return;
        }
        // Who finds anything of what follows finds the number changed: `find` has the other fence.
        fence(Ordering::Release);
        let slack = area.pages * PAGE_SIZE - area.requested;
        let what = area.pages as u64 & PAGES
            | (area.kind as u64) << KIND_SHIFT
            | (pin.cpu() as u64) << CPU_SHIFT
            | (slack as u64) << SLACK_SHIFT;
        place.start.store(area.start, Ordering::Relaxed);
        place.what.store(what, Ordering::Relaxed);
        let allocated_by = area.caller.map_or(ptr::null(), ptr::from_ref).cast_mut();
        place.allocated_by.store(allocated_by, Ordering::Relaxed);
        place.freed_by.store(ptr::from_ref(freed_by).cast_mut(), Ordering::Relaxed);
        place.time.store(platform.now(), Ordering::Relaxed);
        let tag = platform.thread_tag();
        for (to, half) in place.thread.iter().zip(tag.as_chunks().0) {
            to.store(u64::from_ne_bytes(*half), Ordering::Relaxed);
        }
        place.sequence.store(2 * number + 2, Ordering::Release);
    }

    /// Finds the last free that is remembered of an area that had this address, its guard page included. It may be called in
    /// any context.
    pub fn find<P: Platform>(&self, platform: &P, address: usize) -> Option<Freed> {
        let pin = platform.pin();
        let places = (self.chunks.load(Ordering::Acquire) * PLACES) as u64;
        let next = self.next.load(Ordering::Acquire);
        let numbers = (next.saturating_sub(places)..next).rev();
        numbers.filter_map(|number| self.place(number, &pin)?.read(number, platform)).find(|freed| {
            let end = freed.start + (freed.pages + 1) * PAGE_SIZE;
            (freed.start..end).contains(&address)
        })
    }
}

impl Place {
    /// Reads the free of this number; `None` if it is not there, or is just written.
    fn read<P: Platform>(&self, number: u64, platform: &P) -> Option<Freed> {
        if self.sequence.load(Ordering::Acquire) != 2 * number + 2 {
            return None;
        }
        let what = self.what.load(Ordering::Relaxed);
        let start = self.start.load(Ordering::Relaxed);
        let allocated_by = self.allocated_by.load(Ordering::Relaxed);
        let freed_by = self.freed_by.load(Ordering::Relaxed);
        let time = self.time.load(Ordering::Relaxed);
        let halves = self.thread.each_ref().map(|half| half.load(Ordering::Relaxed).to_ne_bytes());
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) != 2 * number + 2 {
            return None;
        }
        let mut thread = [0; 16];
        thread.copy_from_slice(halves.as_flattened());
        let pages = (what & PAGES) as usize;
        Some(Freed {
            start,
            pages,
            requested: pages * PAGE_SIZE - (what >> SLACK_SHIFT) as usize,
            kind: Kind::from_number(what >> KIND_SHIFT & 0xff)?,
            // SAFETY: only `remember` stores here, null or a `&'static Location`, each in one store.
            allocated_by: unsafe { allocated_by.as_ref() },
            // SAFETY: as above.
            freed_by: unsafe { freed_by.as_ref()? },
            cpu: (what >> CPU_SHIFT & ((1 << (SLACK_SHIFT - CPU_SHIFT)) - 1)) as usize,
            thread,
            age: platform.now().saturating_sub(time),
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
