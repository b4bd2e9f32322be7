//! Memory that each CPU has its own copy of.
//!
//! ```text
//! chunk   │ unit of CPU 0 │ unit of CPU 1 │ unit of CPU 2 │ ...    congruent areas, 2 MiB apart
//!              ▲               ▲               ▲
//!              └─ the copies of an object lie at the same place of each unit
//! ```
//! So a CPU finds its copy by its number alone. What is used is the same in all units: `suballoc` keeps it,
//! once. A page of a chunk has frames, in all units, only while objects lie in it, but for a few; a chunk of
//! nothing goes, but for one.
//!
//! Memory is allocated and freed in threads, pinned or not, but not in interrupt handlers: debug builds refuse that
//! always, release builds where the lock is held. A copy may be used anywhere.
//!
//! Lock: one around the bookkeeping, in no order with others. Frames and chunks are taken and given outside
//! of it, and no interrupt handler takes it.

mod value;

use super::machine::vmalloc;
use crate::{
    arch::{cpu, cpu::MAX_CPUS},
    lock_class,
    sync::SpinLock,
};
use core::{alloc::Layout, fmt, ptr::NonNull};
use suballoc::{Chunk, Given, Place, Reserved, Size, SizeError, Space, Taken, UNIT_SIZE};
pub use value::PerCpu;
use vmalloc::{BLOCK_SIZE, CongruentArea, CongruentError, CongruentSet, MAX_CONGRUENT, PopulateError};

static SPACE: SpinLock<Space<CongruentSet>> = SpinLock::new(lock_class!("per-CPU memory"), Space::new());

/// Bytes from the copy of a CPU to that of the next one.
const DISTANCE: usize = BLOCK_SIZE;
const _: () = assert!(UNIT_SIZE < DISTANCE && MAX_CPUS <= MAX_CONGRUENT);

/// Why there is no memory for each CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerCpuError {
    /// There can be no such object.
    Size(SizeError),
    /// A chunk is needed, and refused.
    Chunk(CongruentError),
    /// A page is needed that cannot be populated: frames ran out.
    Page(PopulateError),
    /// The heap has no room for a chunk's records.
    Records,
    /// There are as many chunks as can be.
    TooManyChunks,
}

impl From<SizeError> for PerCpuError {
    fn from(error: SizeError) -> Self {
        Self::Size(error)
    }
}

impl From<CongruentError> for PerCpuError {
    fn from(error: CongruentError) -> Self {
        Self::Chunk(error)
    }
}

impl From<PopulateError> for PerCpuError {
    fn from(error: PopulateError) -> Self {
        Self::Page(error)
    }
}

impl fmt::Display for PerCpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(error) => error.fmt(f),
            Self::Chunk(error) => write!(f, "no chunk of per-CPU memory: {error}"),
            Self::Page(error) => write!(f, "no page of per-CPU memory: {error}"),
            Self::Records => write!(f, "no room for the records of a chunk of per-CPU memory"),
            Self::TooManyChunks => write!(f, "there are {} chunks of per-CPU memory", suballoc::CHUNKS),
        }
    }
}

impl core::error::Error for PerCpuError {}

/// CPUs that have copies: all that there are, because they start before any thread does.
fn units() -> usize {
    cpu::online_count()
}

/// Memory of one layout on each CPU, freed when dropped.
#[derive(Debug)]
pub struct PerCpuMemory {
    /// The copy of CPU 0.
    first: NonNull<u8>,
    place: Place,
    layout: Layout,
}

// SAFETY: it owns memory that no thread has a special claim to, and shows nothing but addresses.
unsafe impl Send for PerCpuMemory {}
// SAFETY: as above.
unsafe impl Sync for PerCpuMemory {}

impl PerCpuMemory {
    /// Memory full of zeros. It may wait for others that purge, unless the caller may not. Not for interrupt handlers.
    ///
    /// # Errors
    /// See [`PerCpuError`]; nothing has changed then.
    pub fn zeroed(layout: Layout) -> Result<Self, PerCpuError> {
        cpu::debug_assert_no_interrupt("PerCpuMemory::zeroed");
        let size = Size::of(layout)?;
        let (set, place) = loop {
            let taken = SPACE.lock().take(size);
            match taken {
                Taken::At(set, place) => break (set, place),
                Taken::Reserved(pages) => break (pages.name, populate(&pages, size)?),
                Taken::Full => add_chunk()?,
            }
        };
        let Some(first) = NonNull::new((set.base() + place.offset()) as *mut u8) else {
            unreachable!("a chunk is in the vmalloc range")
        };
        let memory = Self { first, place, layout };
        for cpu in 0..units() {
            // SAFETY: the room is this object's, populated, in whole granules of 16 bytes.
            unsafe { memory.copy_of(cpu).cast::<u64>().write_bytes(0, layout.size().div_ceil(8)) };
        }
        Ok(memory)
    }

    /// Where the copy of a CPU begins.
    ///
    /// # Panics
    /// There is no such CPU.
    #[inline]
    #[must_use]
    pub fn of(&self, cpu: usize) -> NonNull<u8> {
        assert!(cpu::online().contains(cpu), "CPU {cpu} has no copy: it is not online");
        self.copy_of(cpu)
    }

    #[inline]
    fn copy_of(&self, cpu: usize) -> NonNull<u8> {
        // SAFETY: each CPU has a unit, so many bytes behind that of the one before.
        unsafe { self.first.byte_add(cpu * DISTANCE) }
    }
}

impl Drop for PerCpuMemory {
    fn drop(&mut self) {
        cpu::debug_assert_no_interrupt("a free of per-CPU memory");
        let Ok(size) = Size::of(self.layout) else { unreachable!("there is such an object") };
        let given = SPACE.lock().give(self.place, size);
        settle(given);
    }
}

/// Gives frames to pages that were reserved for an object: where it is.
fn populate(pages: &Reserved<CongruentSet>, size: Size) -> Result<Place, PerCpuError> {
    for (done, run) in pages.missing().enumerate() {
        // SAFETY: a set is freed when no object is in it, and no page of it reserved.
        if let Err(error) = unsafe { vmalloc().populate(pages.name, run) } {
            pages.missing().take(done).for_each(|run| depopulate(pages.name, run));
            let given = SPACE.lock().give_up(pages);
            settle(given);
            return Err(error.into());
        }
    }
    Ok(SPACE.lock().commit(pages, size))
}

/// Takes the frames of pages away that nobody uses.
fn depopulate(set: CongruentSet, pages: core::ops::Range<usize>) {
    // SAFETY: the pages are reserved, and no object lies in them.
    if let Err(error) = unsafe { vmalloc().depopulate(set, pages) } {
        panic!("pages of per-CPU memory cannot be depopulated: {error}");
    }
}

/// Does what the bookkeeping wants done: mostly nothing.
#[inline]
fn settle(given: Given<CongruentSet>) {
    if !matches!(given, Given::Kept) {
        settle_some(given);
    }
}

#[inline(never)]
fn settle_some(mut given: Given<CongruentSet>) {
    while let Given::Reserved(pages) = given {
        depopulate(pages.name, pages.pages());
        given = SPACE.lock().depopulated(&pages);
    }
    if let Given::Chunk(chunk) = given {
        free_set(*chunk.name());
    }
}

fn add_chunk() -> Result<(), PerCpuError> {
    let areas: [_; MAX_CPUS] =
        core::array::from_fn(|cpu| CongruentArea { offset: cpu * DISTANCE, size: UNIT_SIZE });
    let set = vmalloc().allocate_congruent(&areas[..units()], DISTANCE)?;
    let Ok(chunk) = Chunk::new(set) else {
        free_set(set);
        return Err(PerCpuError::Records);
    };
    let added = SPACE.lock().add(chunk);
    added.map_err(|chunk| {
        free_set(*chunk.name());
        PerCpuError::TooManyChunks
    })
}

/// Frees the areas of a chunk that is in the space no more, or never was.
fn free_set(set: CongruentSet) {
    // SAFETY: nothing in the chunk is used, and it is given out no more.
    if let Err(error) = unsafe { vmalloc().free_congruent(set) } {
        panic!("a chunk of per-CPU memory cannot be freed: {error}");
    }
}

/// Frees the chunks in which nothing is used; whether there was any. Called in a thread, pinned or not.
pub fn trim() -> bool {
    cpu::debug_assert_no_interrupt("percpu::trim");
    let mut some = false;
    loop {
        let chunk = SPACE.lock().trim();
        let Some(chunk) = chunk else { return some };
        free_set(*chunk.name());
        some = true;
    }
}
