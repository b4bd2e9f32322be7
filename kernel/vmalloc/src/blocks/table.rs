//! The table of descriptors: finds a block's by its number, with three loads, without a lock, in any context.
//!
//! Descriptors lie in frames of [`PER_FRAME`], found through frames of pointers, the table's directories.
//! Both are made when first needed, and freed when all of their blocks are free (`records`). Frames of
//! pointers to directories, the roots, are made with the instance: one for each 10.5 TiB.
//!
//! Whoever uses a descriptor is a [`Reader`], whether or not it owns the block: pinned, or with interrupts
//! off, from the look-up to the last use. A record is unlinked first, and freed when every CPU has had a
//! moment without either. So no look-up relies on what its caller says about the block.

use super::{
    Block,
    records::{Record, Unlinked, is_linked},
};
use crate::{
    CpuPin, PAGE_SIZE, Platform, Returned,
    arena::MAX_BLOCKS,
    atomic::framed::{AtomicPtr, Ordering},
    framed::Framed,
};
use core::ptr::{self, NonNull};

/// Stands for no block where the number of one is stored.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

/// What holds up grace periods while it lives: a pin, or a read-side section.
pub(crate) trait Reader {}

impl<P: CpuPin> Reader for P {}

/// Descriptors in one frame.
pub(super) const PER_FRAME: usize = PAGE_SIZE / size_of::<Block>();
/// Entries of a directory.
pub(super) const ENTRIES: usize = PAGE_SIZE / size_of::<usize>();

/// A frame of descriptors.
pub(crate) type Descriptors = [Block; PER_FRAME];
/// A frame of pointers to those.
pub(crate) type Directory = [AtomicPtr<Descriptors>; ENTRIES];

/// Pointers to directories, in a frame.
type Root = [AtomicPtr<Directory>; ENTRIES];
/// Roots of the largest instance, as a power of two, so that no look-up needs a check.
const ROOTS: usize = MAX_BLOCKS.div_ceil(Directory::BLOCKS * ENTRIES).next_power_of_two();
/// Stands for the roots that an instance does not need.
static NO_DIRECTORIES: Root = [const { AtomicPtr::new(ptr::null_mut()) }; ENTRIES];

/// Finds the descriptor of a block by its number.
pub(crate) struct BlockTable {
    roots: [&'static Root; ROOTS],
    /// Those that are in frames; the others are [`NO_DIRECTORIES`].
    frames: [Option<Framed<Root>>; ROOTS],
}

impl BlockTable {
    /// Makes the table of `blocks` blocks. `None` means that there were no frames.
    pub fn new<P: Platform>(platform: &P, blocks: usize) -> Option<Self> {
        let mut table = Self { roots: [&NO_DIRECTORIES; ROOTS], frames: [const { None }; ROOTS] };
        for index in 0..blocks.div_ceil(Directory::BLOCKS * ENTRIES) {
            let Some(root) = Framed::<Root>::zeroed(platform) else {
                table.release_roots(platform);
                return None;
            };
            // SAFETY: it lives as long as the table, which gives out no longer references.
            table.roots[index] = unsafe { root.pointer().as_ref() };
            table.frames[index] = Some(root);
        }
        Some(table)
    }

    /// Returns where directory `index`, of a block below [`MAX_BLOCKS`], is linked. Nothing is linked to those of blocks
    /// that the instance does not have.
    #[inline(always)]
    pub fn directory(&self, index: usize) -> &AtomicPtr<Directory> {
        debug_assert!(index / ENTRIES < ROOTS, "no instance has directory {index}");
        &self.roots[index / ENTRIES % ROOTS][index % ENTRIES]
    }

    /// Returns the descriptor of block `number`; `None` if it has none now, which means that the block is free.
    #[inline]
    pub fn get<'a>(&'a self, number: usize, reader: &'a impl Reader) -> Option<&'a Block> {
        let (frame, place) = split(number);
        let directory = follow(self.directory(frame / ENTRIES), reader)?;
        follow(&directory[frame % ENTRIES], reader)?.get(place)
    }

    /// Makes the descriptor of block `number`, which the caller has, if it is missing. `None` means that there was no frame
    /// for it.
    pub fn make<P: Platform>(&self, platform: &P, number: usize) -> Option<()> {
        if self.get(number, &platform.pin()).is_some() {
            return Some(());
        }
        let frame = split(number).0;
        let slot = self.directory(frame / ENTRIES);
        if !is_linked(slot) {
            let new = new_record(platform, || [const { AtomicPtr::new(ptr::null_mut()) }; ENTRIES])?;
            link(platform, Some(slot), new);
        }
        let first = frame * PER_FRAME;
        let new = new_record(platform, || core::array::from_fn(|place| Block::new(first + place)))?;
        let pin = platform.pin();
        link(platform, follow(slot, &pin).map(|directory| &directory[frame % ENTRIES]), new);
        Some(())
    }

    /// Finds the first block at or above `from` that has a descriptor in the directory of `from`; `Err` has the first block
    /// of the next directory if there is none.
    pub fn next(&self, from: usize, reader: &impl Reader) -> Result<usize, usize> {
        let frame = split(from).0;
        let directory = follow(self.directory(frame / ENTRIES), reader);
        let found = directory.and_then(|slots| slots[frame % ENTRIES..].iter().position(is_linked));
        match found {
            Some(behind) => Ok(((frame + behind) * PER_FRAME).max(from)),
            None => Err((frame / ENTRIES + 1) * Directory::BLOCKS),
        }
    }

    /// Returns how many frames directory `index` and the descriptors below it take.
    pub fn frames(&self, index: usize, reader: &impl Reader) -> usize {
        follow(self.directory(index), reader)
            .map_or(0, |slots| 1 + slots.iter().filter(|slot| is_linked(slot)).count())
    }

    /// Returns how many directories the instance may have.
    pub fn directories(&self) -> usize {
        self.root_frames() * ENTRIES
    }

    /// Returns how many frames the roots take.
    pub fn root_frames(&self) -> usize {
        self.frames.iter().flatten().count()
    }

    /// Returns where the frames of descriptors below directory `index` are linked, with the first block of each.
    ///
    /// # Safety
    /// Nobody unlinks directories while the result is used.
    pub unsafe fn descriptors(&self, index: usize) -> impl Iterator<Item = (&AtomicPtr<Descriptors>, usize)> {
        // SAFETY: as in `follow`; the caller promises that it stays linked.
        let directory = unsafe { self.directory(index).load(Ordering::Acquire).as_ref() };
        let first = index * Directory::BLOCKS;
        directory.into_iter().flatten().zip((first..).step_by(PER_FRAME))
    }

    /// Gives all records back.
    pub fn release<P: Platform>(&mut self, platform: &P) {
        let slots = self.frames.iter().flatten().flat_map(|root| root.iter());
        for record in slots.filter_map(Unlinked::take) {
            // SAFETY: `&mut self` means that nobody holds a reference.
            unsafe { record.free(platform) };
        }
        self.release_roots(platform);
    }

    fn release_roots<P: Platform>(&mut self, platform: &P) {
        self.roots = [&NO_DIRECTORIES; ROOTS];
        self.frames.iter_mut().filter_map(Option::take).for_each(|root| root.release(platform));
    }
}

/// Returns which frame of descriptors that of block `number` is in, and its place there. It divides by 21 in one
/// multiplication, which is exact for all numbers of blocks.
#[inline]
fn split(number: usize) -> (usize, usize) {
    const RECIPROCAL: u64 = (1u64 << 32).div_ceil(PER_FRAME as u64);
    const { assert!((RECIPROCAL * PER_FRAME as u64 - (1 << 32)) * (MAX_BLOCKS as u64) < 1 << 32) };
    let frame = ((number as u64 * RECIPROCAL) >> 32) as usize;
    (frame, number - frame * PER_FRAME)
}

/// Returns the record that `slot` links, if it links one.
#[inline]
fn follow<'a, T>(slot: &'a AtomicPtr<T>, _: &'a impl Reader) -> Option<&'a T> {
    // SAFETY: a pointer in the table is null or that of an initialised record, which is freed when a grace period has
    // passed since it was unlinked. The reader, who outlives the result, holds that up.
    unsafe { slot.load(Ordering::Acquire).as_ref() }
}

/// Makes a record that is not linked yet. `None` means that there was no frame.
fn new_record<T, P: Platform>(platform: &P, new: impl FnOnce() -> T) -> Option<NonNull<T>> {
    const { assert!(size_of::<T>() <= PAGE_SIZE && align_of::<T>() <= PAGE_SIZE) };
    let record = platform.direct_map(platform.take_table()?).cast::<T>();
    // SAFETY: promises 1 and 2 of `Platform`: the frame is ours alone and mapped; it is large
    // enough and aligned (asserted above).
    unsafe { record.write(new()) };
    Some(record)
}

/// Links a new record in `slot`, by compare-and-swap, so that no other CPU finds it half made; or gives it back if one is
/// linked there by now.
fn link<T, P: Platform>(platform: &P, slot: Option<&AtomicPtr<T>>, new: NonNull<T>) {
    let put = |slot: &AtomicPtr<T>| {
        slot.compare_exchange(ptr::null_mut(), new.as_ptr(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    };
    if !slot.is_some_and(put) {
        platform.give_table(Returned::new(platform.frame_of(new.cast())));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::tests::machine::Machine;

    /// Seen failing with one root whatever there are, and with as many directories more as there are roots.
    #[test]
    fn an_instance_of_more_blocks_than_a_root_finds_has_two() {
        let machine = &Machine::new(1, 10);
        let mut table = BlockTable::new(&machine, Directory::BLOCKS * ENTRIES + 1).expect("frames enough");
        assert_eq!((table.root_frames(), table.directories()), (2, 2 * ENTRIES));
        table.release_roots(&machine);
        machine.assert_all_frames_back();
    }

    /// Seen failing with a search that does not find the directory it is in.
    #[test]
    fn a_search_goes_on_behind_a_directory_without_descriptors() {
        let machine = &Machine::new(1, 10);
        let mut table = BlockTable::new(&machine, 3 * Directory::BLOCKS).expect("frames enough");
        let (second, third) = (Directory::BLOCKS, 2 * Directory::BLOCKS);
        assert_eq!(table.next(second + 5, &Platform::pin(&machine)), Err(third));
        table.make(&machine, second + 100).expect("frames enough");
        let first_of_frame = split(second + 100).0 * PER_FRAME;
        assert_eq!(table.next(second + 5, &Platform::pin(&machine)), Ok(first_of_frame));
        assert_eq!(table.next(second + 100, &Platform::pin(&machine)), Ok(second + 100));
        assert_eq!(table.next(second + 200, &Platform::pin(&machine)), Err(third));
        table.release_roots(&machine);
    }
}
