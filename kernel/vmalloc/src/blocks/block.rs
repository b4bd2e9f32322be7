//! The vmap block: 2 MiB of address space, one leaf page table and one descriptor.
//!
//! A descriptor is 192 bytes, and that is all the library remembers of a block, however many areas lie in it.
//! It is made when the block is opened, found through `table`, and stays as long as the block is not free;
//! after that `reclaim/records.rs` may give it back.

use super::{NO_BLOCK, Pages, Role, table::Reader};
use crate::{
    Frame, LockClass, Platform,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
    lock::{Lock, Locked},
    page_table::{Entry, Slots, directories},
};
use core::ptr;

/// The descriptor of a vmap block.
#[repr(C, align(64))]
pub(crate) struct Block {
    role: AtomicU64,
    /// The directory entry that links the leaf table while the block has one; else 0.
    leaf: AtomicU64,
    /// Neighbours in a bin of the pool, guarded by the pool's lock. Of a cached run, `next` is the one before it. Of the
    /// first block of a congruent area they are those of the areas before and behind it in its set.
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

// Loom's atomics are larger.
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Block>() == 192, "less than a byte for each small area it can hold");
    // The lock itself takes a word before what it guards, which has 24 bytes before its bitmaps.
    assert!(core::mem::offset_of!(Block, pages) + 8 + 24 == 64, "each bitmap has a line of its own");
};

impl Block {
    pub fn new(number: usize) -> Self {
        Self {
            number: number as u32,
            role: AtomicU64::new(Role::Unused.to_word()),
            leaf: AtomicU64::new(0),
            next: AtomicU32::new(NO_BLOCK),
            previous: AtomicU32::new(NO_BLOCK),
            next_lazy: AtomicU32::new(NO_BLOCK),
            pages: Lock::new(Pages::new()),
        }
    }

    /// Returns the block's place in the range, in blocks.
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

    /// Returns the next block in a list of blocks that wait for a flush, for who has the list.
    pub fn next_in_list(&self) -> u32 {
        self.next_lazy.load(Ordering::Relaxed)
    }

    /// Returns the leaf table, if the block has one.
    #[inline]
    pub fn leaf<'a, P: Platform>(&self, platform: &'a P) -> Option<&'a Slots> {
        let link = Entry(self.leaf.load(Ordering::Acquire));
        // SAFETY: `leaf` only ever holds the link of a live leaf table. It is taken out before the
        // table is freed, and only of a block in which nothing is allocated, so nobody who came
        // here by an allocated address can hold the reference then, or whoever calls breaks the contract of a free.
        link.is_present().then(|| unsafe { directories::table(platform, link.frame()) })
    }

    /// Stores the leaf table that `link` links, if the block has none. Returns whether it had none.
    pub fn set_split_leaf(&self, link: Entry) -> bool {
        self.leaf.compare_exchange(0, link.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Notes that the run that starts here has one 2 MiB page fewer.
    pub fn one_huge_less(&self) {
        let less = |word| match Role::from_word(word) {
            Role::Head { blocks, huge } => Some(Role::Head { blocks, huge: huge.checked_sub(1)? }.to_word()),
            _ => None,
        };
        // Several blocks of a run may be split at once. A run that is only being made is counted when it is complete.
        let _ = self.role.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    /// Returns the directory entry that links the leaf table, if the block has one.
    pub fn link(&self) -> Option<Entry> {
        Some(Entry(self.leaf.load(Ordering::Relaxed))).filter(|link| link.is_present())
    }

    /// Stores the leaf table, or none, and returns the one before.
    pub fn set_leaf(&self, frame: Option<Frame>) -> Option<Frame> {
        let link = frame.map_or(0, |frame| Entry::table(frame).0);
        let before = Entry(self.leaf.swap(link, Ordering::AcqRel));
        before.is_present().then(|| before.frame())
    }
}

/// A reference to a block of an instance, or none, which changes at any time.
pub(crate) struct BlockSlot(AtomicPtr<Block>);

impl BlockSlot {
    pub fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Returns the block. Another CPU may have taken it out of here already.
    #[inline]
    pub fn get<'a>(&'a self, _: &'a impl Reader) -> Option<&'a Block> {
        // SAFETY: only `swap` puts pointers here, to blocks that are not free, as its callers promise. One that was taken out goes after
        // a grace period, so not before the reader is done.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }

    /// Puts a block here, and returns the one before, which is the caller's to settle.
    ///
    /// # Safety
    /// The block is not free before it is taken out of here again.
    pub unsafe fn swap<'a>(&'a self, block: Option<&Block>, _: &'a impl Reader) -> Option<&'a Block> {
        let block = block.map_or(ptr::null_mut(), |block| ptr::from_ref(block).cast_mut());
        // SAFETY: as in `get`.
        unsafe { self.0.swap(block, Ordering::Relaxed).as_ref() }
    }
}
