//! What an instance has for each CPU: a record, which is a frame of the machine's, in which each room has its part.
//!
//! So an instance costs memory for the CPUs that use it. A CPU gets its record when it first allocates, and keeps it
//! until the instance is dropped. Before that, and where there was no frame for one, it shares a record with all
//! others that have none: a room does there only what any CPU may do at any time. So a free needs no memory.
//!
//! The constructors of the rooms lay the record out, part by part; from then on a room finds its parts by its
//! [`PerCpu`]. No lock is taken.

use crate::{
    CpuPin, MAX_CPUS, PAGE_SIZE, Platform, Returned,
    atomic::framed::{AtomicPtr, AtomicUsize, Ordering},
    framed::Framed,
};
use core::{marker::PhantomData, ops::Range, ptr::NonNull};

/// Where the rooms' parts are in a record. Constants, so that a fast path finds its part at once. Loom's locks and atomics
/// are larger than the machine's.
pub(crate) mod place {
    pub const RESERVE: usize = 64;
    pub const PENDING: usize = 512;
    pub const POOLS: usize = 1024;
    pub const RUNS: usize = 2560;
    pub const MAGAZINES: usize = 3584;
}

/// Rooms that have parts, at most.
const MOST_PARTS: usize = 6;
/// Bytes of a cache line.
const LINE: usize = 64;

/// What a room has for one CPU.
pub(crate) trait Part: Sized {
    /// Where it is in a record, in bytes, behind the parts of all rooms below: one of the numbers in [`place`].
    const AT: usize;

    /// Makes the part of the record of one CPU, or of the record that CPUs share.
    fn new(is_shared: bool) -> Self;
}

type Links = [AtomicPtr<u8>; MAX_CPUS];

/// Where a part is in a record, and how it is made and dropped there.
#[derive(Clone, Copy)]
struct Shape {
    at: usize,
    make: unsafe fn(NonNull<u8>, bool),
    drop: unsafe fn(NonNull<u8>),
}

/// The records of an instance.
pub(crate) struct Records {
    /// The record of each CPU, or the shared one.
    links: Framed<Links>,
    /// Before its parts it has the number of the first CPU above all that have records.
    shared: NonNull<u8>,
    shapes: [Option<Shape>; MOST_PARTS],
    /// Bytes of a record that are laid out.
    size: usize,
}

// SAFETY: what is shared is atomic, or a part, whose room sees to it (`PerCpu`).
unsafe impl Send for Records {}
// SAFETY: as above.
unsafe impl Sync for Records {}

/// A record, for who looks for several parts of it.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a>(NonNull<u8>, PhantomData<&'a Records>);

/// A room's parts in the records of an instance.
pub(crate) struct PerCpu<T> {
    links: NonNull<Links>,
    shared: NonNull<u8>,
    parts: PhantomData<T>,
}

// SAFETY: it gives out references to parts, as an array of them would.
unsafe impl<T: Send> Send for PerCpu<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for PerCpu<T> {}

impl Records {
    /// Makes the record that CPUs share. `None` means that there were no frames.
    pub fn new<P: Platform>(platform: &P) -> Option<Self> {
        let links = Framed::<Links>::zeroed(platform)?;
        let Some(frame) = platform.take_table() else {
            links.release(platform);
            return None;
        };
        let shared = platform.direct_map(frame);
        links.iter().for_each(|link| link.store(shared.as_ptr(), Ordering::Relaxed));
        Some(Self { links, shared, shapes: [None; MOST_PARTS], size: LINE })
    }

    /// Lays out a part of the records, for a room. No CPU has a record of its own yet.
    pub fn lay_out<T: Part>(&mut self) -> PerCpu<T> {
        /// # Safety
        /// There are this many bytes there, aligned, that nobody else uses.
        unsafe fn make<T: Part>(part: NonNull<u8>, is_shared: bool) {
            // SAFETY: the caller's promise.
            unsafe { part.cast::<T>().write(T::new(is_shared)) };
        }
        /// # Safety
        /// There is such a part there, which is not used any more.
        unsafe fn drop<T>(part: NonNull<u8>) {
            // SAFETY: the caller's promise.
            unsafe { part.cast::<T>().drop_in_place() };
        }
        const { assert!(T::AT.is_multiple_of(LINE) && T::AT.is_multiple_of(align_of::<T>())) };
        const { assert!(T::AT + size_of::<T>() <= PAGE_SIZE) };
        assert!(self.size <= T::AT, "the part at {} begins in another", T::AT);
        self.size = T::AT + size_of::<T>();
        let shape = Shape { at: T::AT, make: make::<T>, drop: drop::<T> };
        match self.shapes.iter_mut().find(|shape| shape.is_none()) {
            Some(place) => *place = Some(shape),
            None => unreachable!("at most {MOST_PARTS} rooms have parts"),
        }
        // SAFETY: the shared record is a frame, and these bytes of it are nobody else's.
        unsafe { make::<T>(self.shared.add(T::AT), true) };
        PerCpu { links: self.links.pointer(), shared: self.shared, parts: PhantomData }
    }

    /// Returns whether the CPU has a record of its own.
    #[inline]
    pub fn has_own(&self, cpu: usize) -> bool {
        self.links[cpu % MAX_CPUS].load(Ordering::Relaxed) != self.shared.as_ptr()
    }

    /// Returns the CPU itself if it has a record of its own, or else another one that has: for what any CPU may put where
    /// any CPU finds it.
    pub fn home(&self, cpu: usize) -> Option<usize> {
        let cpu = cpu % MAX_CPUS;
        if self.has_own(cpu) { Some(cpu) } else { self.owners().next() }
    }

    fn owners(&self) -> impl Iterator<Item = usize> {
        (0..self.bound().load(Ordering::SeqCst)).filter(|&cpu| self.has_own(cpu))
    }

    /// Sees to it that this CPU has a record of its own. Returns `false` if it has none, and there is no frame for one.
    #[inline]
    pub fn make_own<P: Platform>(&self, pin: &P::Pin, platform: &P) -> bool {
        self.has_own(pin.cpu()) || self.make(pin.cpu() % MAX_CPUS, platform)
    }

    /// Makes a record for the CPU that this runs on, pinned.
    #[cold]
    #[inline(never)]
    fn make<P: Platform>(&self, cpu: usize, platform: &P) -> bool {
        let Some(frame) = platform.take_table() else { return false };
        let record = platform.direct_map(frame);
        for shape in self.shapes.iter().flatten() {
            // SAFETY: as in `lay_out`, of this frame.
            unsafe { (shape.make)(record.add(shape.at), false) };
        }
        self.bound().fetch_max(cpu + 1, Ordering::SeqCst);
        // Who finds the record finds its parts made, and the bound raised. In one order with what the CPU reads afterwards of
        // who has closed the magazines: see `Magazines::close`.
        self.links[cpu].store(record.as_ptr(), Ordering::SeqCst);
        true
    }

    /// Returns how many frames the records take.
    pub fn frames(&self) -> usize {
        2 + self.owners().count()
    }

    /// Gives the records back.
    ///
    /// # Safety
    /// Neither these records nor a [`PerCpu`] of them are used again.
    pub unsafe fn release<P: Platform>(&mut self, platform: &P) {
        let own = self.links.iter().map(|link| link.swap(self.shared.as_ptr(), Ordering::Acquire));
        for record in own.filter_map(NonNull::new).filter(|&record| record != self.shared) {
            self.give_back(record, platform);
        }
        self.give_back(self.shared, platform);
        // SAFETY: the caller's promise.
        unsafe { self.links.give_back(platform) };
    }

    fn give_back<P: Platform>(&self, record: NonNull<u8>, platform: &P) {
        for shape in self.shapes.iter().flatten() {
            // SAFETY: a record has all parts, and the caller of `release` promises that they are not used.
            unsafe { (shape.drop)(record.add(shape.at)) };
        }
        platform.give_table(Returned::new(platform.frame_of(record)));
    }

    fn bound(&self) -> &AtomicUsize {
        bound(&self.shared)
    }
}

/// The number in a shared record of the first CPU above all that have records of their own.
fn bound(shared: &NonNull<u8>) -> &AtomicUsize {
    // SAFETY: the first line of the record is no part's, and was zeros, which are a number. It lives as long as the records.
    unsafe { shared.cast::<AtomicUsize>().as_ref() }
}

impl<T: Part> PerCpu<T> {
    /// Returns the record of a CPU, or the shared one.
    #[inline(always)]
    pub fn record(&self, cpu: usize) -> Record<'_> {
        // SAFETY: the links live as long as the room that this belongs to.
        let link = unsafe { &self.links.as_ref()[cpu % MAX_CPUS] };
        // SAFETY: each link leads to a record.
        Record(unsafe { NonNull::new_unchecked(link.load(Ordering::Acquire)) }, PhantomData)
    }

    /// Returns the part in a record of the instance.
    #[inline(always)]
    pub fn part<'a>(&'a self, record: Record<'a>) -> &'a T {
        // SAFETY: in each record `lay_out` or `make` made this part, which stays until the instance is dropped. The records of
        // another instance have it at the same place.
        unsafe { record.0.add(T::AT).cast().as_ref() }
    }

    /// Returns the part of a CPU, or the shared one.
    #[inline(always)]
    pub fn of(&self, cpu: usize) -> &T {
        self.part(self.record(cpu))
    }

    /// Returns the part of a CPU that has a record of its own.
    pub fn own(&self, cpu: usize) -> Option<&T> {
        // SAFETY: as in `record`. In one order with the making of records.
        let link = unsafe { self.links.as_ref()[cpu % MAX_CPUS].load(Ordering::SeqCst) };
        (link != self.shared.as_ptr()).then(|| self.of(cpu))
    }

    fn shared(&self) -> &T {
        // SAFETY: as in `of`.
        unsafe { self.shared.add(T::AT).cast().as_ref() }
    }

    /// Returns the parts of these CPUs that have records of their own, with their numbers.
    pub fn owned(&self, cpus: Range<usize>) -> impl Iterator<Item = (usize, &T)> + Clone {
        let end = cpus.end.min(bound(&self.shared).load(Ordering::SeqCst));
        (cpus.start..end).filter_map(|cpu| Some((cpu, self.own(cpu)?)))
    }

    /// Returns the parts of these CPUs, the shared one too if they are all CPUs.
    pub fn parts(&self, cpus: Range<usize>) -> impl Iterator<Item = &T> + Clone {
        let shared = (cpus == (0..MAX_CPUS)).then(|| self.shared());
        self.owned(cpus).map(|(_, part)| part).chain(shared)
    }

    /// Returns the parts of all CPUs, the shared one too.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.parts(0..MAX_CPUS)
    }
}
