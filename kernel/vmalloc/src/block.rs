//! The vmap block: 2 MiB of address space, one leaf page table and one descriptor.
//!
//! A descriptor is 192 bytes, and that is all the library remembers of a block, however many areas
//! lie in it. Descriptors stand in frames of [`PER_FRAME`], found by the block's number through one
//! directory: look-up is two loads, without a lock, from any context. A descriptor frame, once
//! made, stays for as long as the instance.

use crate::{
    entry::Entry,
    list::NONE,
    lock::{Lock, Locked},
    pages::Pages,
    platform::{Frame, LockClass, PAGE_SIZE, Platform, Table},
    tables,
};
use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

/// What a block is used for. One word, so that it can be read without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Free; the arena has it.
    Unused,
    /// Areas that share the block, handed out by the pool of this number.
    Small { pool: u16 },
    /// The first block of an area of this many blocks, `huge` of them mapped by 2 MiB pages.
    Head { blocks: u32, huge: u32 },
    /// A later block of an area, this many blocks behind its head.
    Tail { behind: u32 },
    /// A block of a congruent area of this many pages, so many blocks behind its first. Which of the pages
    /// are mapped, the block's pages say: those are live.
    Congruent { pages: usize, behind: usize },
    /// A block of a congruent area that was freed: its pages wait for a flush, then it is closed.
    Leaving,
    /// A block of an area that was freed and is kept for another, of whose pages this many are in the block
    /// or behind. It goes, once `flushed`, or is, to be found at this CPU.
    Kept { pages: usize, cpu: usize, flushed: bool },
    /// The first of this many blocks that are unmapped and wait for a flush. Frames are in the first
    /// entries of each, or scattered over it.
    Freed { blocks: u32, scattered: bool },
}

/// Of the pages in a congruent area's role; below are the tag and a block's number.
const PAGES_SHIFT: u32 = 3 + 24;
const _: () = assert!(crate::arena::MAX_BLOCKS <= 1 << 24);

impl Role {
    /// Whether the block's [`Pages`] say what each of its pages is.
    pub fn has_pages(self) -> bool {
        matches!(self, Self::Small { .. } | Self::Congruent { .. } | Self::Leaving)
    }

    fn to_word(self) -> u64 {
        let (tag, value, huge) = match self {
            Self::Unused => (0, 0, 0),
            Self::Small { pool } => (1, u32::from(pool), 0),
            Self::Head { blocks, huge } => (2, blocks, huge),
            Self::Tail { behind } => (3, behind, 0),
            Self::Freed { blocks, scattered } => (4, blocks, scattered.into()),
            Self::Congruent { pages, behind } => {
                return 5 | (behind << 3) as u64 | (pages as u64) << PAGES_SHIFT;
            }
            Self::Leaving => (6, 0, 0),
            Self::Kept { pages, cpu, flushed } => (7, pages as u32, (cpu as u32) << 1 | u32::from(flushed)),
        };
        tag | u64::from(huge) << 3 | u64::from(value) << 32
    }

    fn from_word(word: u64) -> Self {
        let value = (word >> 32) as u32;
        match word & 7 {
            0 => Self::Unused,
            1 => Self::Small { pool: value as u16 },
            2 => Self::Head { blocks: value, huge: (word as u32) >> 3 },
            3 => Self::Tail { behind: value },
            4 => Self::Freed { blocks: value, scattered: (word as u32) >> 3 != 0 },
            5 => Self::Congruent {
                pages: (word >> PAGES_SHIFT) as usize,
                behind: (word as usize & ((1 << PAGES_SHIFT) - 1)) >> 3,
            },
            6 => Self::Leaving,
            _ => {
                let place = (word as u32) >> 3;
                Self::Kept { pages: value as usize, cpu: place as usize >> 1, flushed: place & 1 != 0 }
            }
        }
    }
}

/// A block's descriptor.
#[repr(C, align(64))]
pub(crate) struct Block {
    role: AtomicU64,
    /// The directory entry that links the leaf table, kept while the block has one; else 0.
    leaf: AtomicU64,
    /// Neighbours in a bin of the pool; guarded by the pool's lock. Of a kept run, `next` is the one before it. Of the first block of a congruent area,
    /// those of the areas before and behind it in its set.
    pub next: AtomicU32,
    pub previous: AtomicU32,
    /// The next block of a list of blocks that wait for a flush; whoever has the list may write it.
    pub next_lazy: AtomicU32,
    number: u32,
    pub pages: Lock<Pages>,
}

impl Locked for Pages {
    const CLASS: LockClass = LockClass::Block;
}

/// Descriptors in one frame.
const PER_FRAME: usize = PAGE_SIZE / size_of::<Block>();
const _: () = assert!(size_of::<Block>() == 192, "less than a byte for each small area it can hold");

impl Block {
    fn new(number: usize) -> Self {
        Self {
            number: number as u32,
            role: AtomicU64::new(Role::Unused.to_word()),
            leaf: AtomicU64::new(0),
            next: AtomicU32::new(NONE),
            previous: AtomicU32::new(NONE),
            next_lazy: AtomicU32::new(NONE),
            pages: Lock::new(Pages::new()),
        }
    }

    /// Its place in the range, in blocks.
    #[inline]
    pub fn number(&self) -> usize {
        self.number as usize
    }

    #[inline]
    pub fn role(&self) -> Role {
        // Acquire: who sees the role also sees the leaf table that was linked before it was set.
        Role::from_word(self.role.load(Ordering::Acquire))
    }

    #[inline]
    pub fn set_role(&self, role: Role) {
        self.role.store(role.to_word(), Ordering::Release);
    }

    /// The leaf table, if the block has one.
    #[inline]
    pub fn leaf<'a, P: Platform>(&self, platform: &'a P) -> Option<&'a Table> {
        let link = Entry(self.leaf.load(Ordering::Acquire));
        // SAFETY: `leaf` only ever holds the link of a live leaf table. It is taken out before the
        // table is freed, and only of a block in which nothing is allocated, so nobody who came
        // here by an allocated address can hold the reference then.
        link.is_present().then(|| unsafe { tables::table(platform, link.frame()) })
    }

    /// Remembers the leaf table, or with `None` forgets it; returns the one before.
    pub fn set_leaf(&self, frame: Option<Frame>) -> Option<Frame> {
        let link = frame.map_or(0, |frame| Entry::table(frame).0);
        let before = Entry(self.leaf.swap(link, Ordering::AcqRel));
        before.is_present().then(|| before.frame())
    }
}

/// A place for a block of the instance whose field it is.
pub(crate) struct BlockSlot(AtomicPtr<Block>);

impl BlockSlot {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline]
    pub fn get(&self) -> Option<&Block> {
        // SAFETY: only `swap` puts pointers here, and descriptors of the instance live as long as it.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }

    /// Puts a block here; the one before.
    pub fn swap(&self, block: Option<&Block>) -> Option<&Block> {
        let block = block.map_or(ptr::null_mut(), |block| ptr::from_ref(block).cast_mut());
        // SAFETY: as in `get`.
        unsafe { self.0.swap(block, Ordering::Relaxed).as_ref() }
    }
}

type Descriptors = [Block; PER_FRAME];

/// Entries of the directory: one for each frame of descriptors of the largest instance.
const DIRECTORY_ENTRIES: usize = PAGE_SIZE / size_of::<usize>();

/// Finds the descriptor of a block by its number.
pub(crate) struct BlockTable {
    /// Frames of pointers to frames of descriptors.
    directories: [AtomicPtr<Directory>; Self::DIRECTORIES],
}

type Directory = [AtomicPtr<Descriptors>; DIRECTORY_ENTRIES];

impl BlockTable {
    const BLOCKS_PER_DIRECTORY: usize = PER_FRAME * DIRECTORY_ENTRIES;
    const DIRECTORIES: usize = crate::arena::MAX_BLOCKS.div_ceil(Self::BLOCKS_PER_DIRECTORY);

    pub fn new() -> Self {
        Self { directories: [const { AtomicPtr::new(ptr::null_mut()) }; Self::DIRECTORIES] }
    }

    /// The descriptor of block `number`; `None` if the block was never used.
    #[inline]
    pub fn get(&self, number: usize) -> Option<&Block> {
        let (frame, place) = split(number);
        let directory = self.directories.get(frame / DIRECTORY_ENTRIES)?.load(Ordering::Acquire);
        // SAFETY: a pointer in the table is null or that of an initialised record that lives as
        // long as `self` (see `make`).
        let directory = unsafe { directory.as_ref() }?;
        let frame = directory[frame % DIRECTORY_ENTRIES].load(Ordering::Acquire);
        // SAFETY: as above.
        unsafe { frame.as_ref() }?.get(place)
    }

    /// The descriptor of block `number`, made if it is missing. `None`: no frame for it.
    pub fn make<P: Platform>(&self, platform: &P, number: usize) -> Option<&Block> {
        let (frame, place) = split(number);
        let directory = self.directories.get(frame / DIRECTORY_ENTRIES)?;
        let directory =
            publish(platform, directory, || [const { AtomicPtr::new(ptr::null_mut()) }; DIRECTORY_ENTRIES])?;
        let slot = &directory[frame % DIRECTORY_ENTRIES];
        let first = frame * PER_FRAME;
        publish(platform, slot, || core::array::from_fn(|place| Block::new(first + place)))?.get(place)
    }

    /// Frames that the table's records take.
    pub fn frames(&self) -> usize {
        self.directories().map(|directory| 1 + directory.iter().filter(|slot| !is_null(slot)).count()).sum()
    }

    /// Numbers of the blocks that have a descriptor, whole frames of them.
    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        (0..Self::DIRECTORIES).flat_map(move |index| {
            // SAFETY: see `get`.
            let directory = unsafe { self.directories[index].load(Ordering::Acquire).as_ref() };
            directory.into_iter().flat_map(move |directory| {
                directory.iter().enumerate().filter(|(_, slot)| !is_null(slot)).flat_map(move |(slot, _)| {
                    let first = index * Self::BLOCKS_PER_DIRECTORY + slot * PER_FRAME;
                    first..first + PER_FRAME
                })
            })
        })
    }

    /// Gives all records back.
    pub fn release<P: Platform>(&mut self, platform: &P) {
        for slot in &mut self.directories {
            let directory = core::mem::replace(slot.get_mut(), ptr::null_mut());
            // SAFETY: see `get`; `&mut self` means that nobody holds a reference.
            let Some(records) = (unsafe { directory.as_ref() }) else { continue };
            for frame in records {
                if let Some(frame) = NonNull::new(frame.load(Ordering::Relaxed)) {
                    platform.give_table(platform.frame_of(frame.cast()));
                }
            }
            if let Some(directory) = NonNull::new(directory) {
                platform.give_table(platform.frame_of(directory.cast()));
            }
        }
    }

    fn directories(&self) -> impl Iterator<Item = &Directory> {
        // SAFETY: see `get`.
        self.directories.iter().filter_map(|slot| unsafe { slot.load(Ordering::Acquire).as_ref() })
    }
}

/// Which frame of descriptors block `number` has its descriptor in, and its place there. A division by
/// 21, in one multiplication that is exact for all numbers of blocks.
#[inline]
fn split(number: usize) -> (usize, usize) {
    const RECIPROCAL: u64 = (1u64 << 32).div_ceil(PER_FRAME as u64);
    const { assert!((RECIPROCAL * PER_FRAME as u64 - (1 << 32)) * (crate::arena::MAX_BLOCKS as u64) < 1 << 32) };
    let frame = ((number as u64 * RECIPROCAL) >> 32) as usize;
    (frame, number - frame * PER_FRAME)
}

fn is_null<T>(slot: &AtomicPtr<T>) -> bool {
    slot.load(Ordering::Acquire).is_null()
}

/// What `slot` points to, after putting a new record there if there is none: initialised first,
/// then published by compare-and-swap, so that no other CPU finds it half made.
fn publish<'a, T, P: Platform>(
    platform: &P,
    slot: &'a AtomicPtr<T>,
    new: impl FnOnce() -> T,
) -> Option<&'a T> {
    const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
    let mut found = slot.load(Ordering::Acquire);
    if found.is_null() {
        let frame = platform.take_table()?;
        let record = platform.direct_map(frame).cast::<T>();
        // SAFETY: promises 1 and 2 of `Platform`: the frame is ours alone and mapped; it is large
        // enough and aligned (asserted above).
        unsafe { record.write(new()) };
        match slot.compare_exchange(ptr::null_mut(), record.as_ptr(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => found = record.as_ptr(),
            Err(other) => {
                platform.give_table(frame);
                found = other;
            }
        }
    }
    // SAFETY: not null, and published records are initialised and stay until `release`, which
    // takes the table by `&mut`.
    Some(unsafe { &*found })
}
