//! All chunks, and where objects are put.

use crate::{
    CHUNKS, Chunk, GRANULE, NONE, PAGE_SIZE, PAGES, Size,
    bins::{BIN_PARTS, Bins, bin_of, sure_bin},
    chunk::{PageBits, id, place},
    row::{GRANULES, Row},
    size::Room,
};
use core::ops::Range;

/// Rows that are found to be in too high a bin, and put right, before a page is opened instead.
const CORRECTIONS: usize = 8;
/// Rows that are tried though it is not sure that they have an aligned place.
const TRIES: usize = 2;
/// Pages that keep their frames though nobody uses them, in all chunks together.
const SPARE_PAGES: usize = 32;
/// Pages that are populated together, and depopulated, where it can be so.
const AT_ONCE: usize = 8;

/// See the crate's documentation. `C` names a chunk to its owner.
#[derive(Debug)]
pub struct Space<C> {
    chunks: [Option<Chunk<C>>; CHUNKS],
    /// Above the last chunk.
    end: usize,
    /// Chunks below have no free page.
    full_below: usize,
    bins: Bins,
    /// Pages with frames that nobody uses.
    spare: usize,
    /// Chunks in which nothing is used.
    empty: usize,
}

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    chunk: u32,
    offset: u32,
}

impl Place {
    /// Bytes from the beginning of the unit.
    #[must_use]
    #[inline]
    pub fn offset(self) -> usize {
        self.offset as usize
    }
}

/// What became of the wish for an object.
#[derive(Debug)]
#[must_use]
pub enum Taken<C> {
    /// It is here, in this chunk.
    At(C, Place),
    /// These pages are for it, and some lack frames: see [`Space::commit`].
    Reserved(Reserved<C>),
    /// It needs another chunk: see [`Space::add`].
    Full,
}

/// What the owner has to do when an object went.
#[derive(Debug)]
#[must_use]
pub enum Given<C> {
    /// Nothing.
    Kept,
    /// These pages have frames that are too many: see [`Space::depopulated`].
    Reserved(Reserved<C>),
    /// The chunk is in the space no more. To be dropped outside of the lock: its records are on the heap.
    Chunk(Chunk<C>),
}

/// Pages that nobody else can have.
#[derive(Debug)]
#[must_use]
pub struct Reserved<C> {
    /// Their chunk.
    pub name: C,
    chunk: usize,
    pages: Range<usize>,
    missing: PageBits,
}

impl<C> Reserved<C> {
    /// The pages, in the chunk.
    #[must_use]
    pub fn pages(&self) -> Range<usize> {
        self.pages.clone()
    }

    /// How many have frames.
    fn populated(&self) -> usize {
        self.pages.len() - self.missing().map(|run| run.len()).sum::<usize>()
    }

    /// Those that lack frames, run by run.
    pub fn missing(&self) -> impl Iterator<Item = Range<usize>> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let start = self.missing.next_set(from);
            from = self.missing.next_clear(start);
            (start < PageBits::LEN).then_some(start..from)
        })
    }
}

impl<C: Copy> Space<C> {
    /// A space without chunks.
    #[must_use]
    pub const fn new() -> Self {
        let chunks = [const { None }; CHUNKS];
        Self { chunks, end: 0, full_below: 0, bins: Bins::new(), spare: 0, empty: 0 }
    }

    /// Takes room for an object.
    pub fn take(&mut self, size: Size) -> Taken<C> {
        let found = match size.0 {
            Room::Granules { count, align } => {
                if let Some((row, first)) = self.take_in_row(count, align) {
                    let (chunk, page) = place(row);
                    return self.taken(chunk, page, first * GRANULE);
                }
                let ahead = if self.spare <= SPARE_PAGES - AT_ONCE { AT_ONCE } else { 1 };
                self.find_pages(|chunk| chunk.find_one(ahead))
            }
            Room::Pages(count) => self.find_pages(|chunk| chunk.find(count)),
        };
        let Some((index, pages)) = found else { return Taken::Full };
        let chunk = self.chunk(index);
        let (name, empty, missing) = (chunk.name, chunk.is_empty(), chunk.missing(&pages));
        chunk.mark_used(&pages);
        self.empty -= usize::from(empty);
        let reserved = Reserved { name, chunk: index, pages, missing };
        self.spare -= reserved.populated();
        if reserved.missing == PageBits::NONE {
            let place = self.commit(&reserved, size);
            return Taken::At(name, place);
        }
        Taken::Reserved(reserved)
    }

    fn taken(&mut self, chunk: usize, page: usize, inside: usize) -> Taken<C> {
        let place = Place { chunk: chunk as u32, offset: (page * PAGE_SIZE + inside) as u32 };
        Taken::At(self.chunk(chunk).name, place)
    }

    /// Takes granules of a page that others share: its row, and the first granule.
    fn take_in_row(&mut self, count: usize, align: usize) -> Option<(u32, usize)> {
        let need = count + align - 1;
        let sure = sure_bin(need);
        for _ in 0..CORRECTIONS {
            let Some(id) = self.bins.at_least(sure) else { break };
            let row = self.row(id);
            if row.longest() >= need {
                return row.take(count, align).map(|first| (id, first));
            }
            self.list(id);
        }
        let mut others = self.bins.between(bin_of(count), sure);
        for _ in 0..TRIES {
            // The highest bin first.
            let bin = others.checked_ilog2()?;
            others &= !(1 << bin);
            let id = self.bins.first[bin as usize];
            if let Some(first) = self.row(id).take(count, align) {
                return Some((id, first));
            }
        }
        None
    }

    /// Pages in the lowest chunk that has them.
    fn find_pages(
        &mut self,
        find: impl Fn(&Chunk<C>) -> Option<Range<usize>>,
    ) -> Option<(usize, Range<usize>)> {
        let is_full = |chunk: &Option<Chunk<C>>| chunk.as_ref().is_none_or(Chunk::is_full);
        while self.full_below < self.end && is_full(&self.chunks[self.full_below]) {
            self.full_below += 1;
        }
        let chunks = self.chunks[..self.end].iter().enumerate().skip(self.full_below);
        chunks.filter_map(|(index, chunk)| Some((index, find(chunk.as_ref()?)?))).next()
    }

    /// The pages that were reserved for an object of this size have frames now: where it is.
    pub fn commit(&mut self, reserved: &Reserved<C>, size: Size) -> Place {
        let (index, page) = (reserved.chunk, reserved.pages.start);
        self.chunk(index).set_populated(&reserved.pages, true);
        if let Room::Granules { count, align } = size.0 {
            // The others were populated for those who come next.
            let others = page + 1..reserved.pages.end;
            self.spare += others.len();
            self.chunk(index).mark_free(&others);
            self.full_below = self.full_below.min(index);
            let row = self.row(id(index, page));
            *row = Row::EMPTY;
            let first = row.take(count, align);
            debug_assert_eq!(first, Some(0), "an empty page begins with a place for any object");
            self.list(id(index, page));
        }
        Place { chunk: index as u32, offset: (page * PAGE_SIZE) as u32 }
    }

    /// Gives up pages that were reserved, and have the same frames as then: they could not be populated.
    pub fn give_up(&mut self, reserved: &Reserved<C>) -> Given<C> {
        self.spare += reserved.populated();
        self.free_pages(reserved.chunk, &reserved.pages)
    }

    /// Gives back pages whose frames were too many, and which have none now.
    pub fn depopulated(&mut self, reserved: &Reserved<C>) -> Given<C> {
        self.chunk(reserved.chunk).set_populated(&reserved.pages, false);
        self.free_pages(reserved.chunk, &reserved.pages)
    }

    /// Gives back the room of an object of this size.
    ///
    /// # Panics
    /// There is none.
    pub fn give(&mut self, at: Place, size: Size) -> Given<C> {
        let (index, page) = (at.chunk as usize, at.offset() / PAGE_SIZE);
        let pages = match size.0 {
            Room::Granules { count, .. } => {
                let id = id(index, page);
                let row = self.row(id);
                row.give(at.offset() % PAGE_SIZE / GRANULE, count);
                if row.longest() < GRANULES {
                    // Its bin may be too high, or lower than it could be by less than a power of two.
                    if row.bin == 0 || bin_of(row.longest()) >= usize::from(row.bin) + BIN_PARTS {
                        self.list(id);
                    }
                    return Given::Kept;
                }
                self.unlink(id);
                page..page + 1
            }
            Room::Pages(count) => page..page + count,
        };
        if self.spare + pages.len() <= SPARE_PAGES {
            self.spare += pages.len();
            return self.free_pages(index, &pages);
        }
        let chunk = self.chunk(index);
        let (name, mut idle) = (chunk.name, pages.clone());
        if pages.len() == 1 {
            idle = chunk.idle_around(page, AT_ONCE);
            chunk.mark_used(&(idle.start..page));
            chunk.mark_used(&(page + 1..idle.end));
            self.spare -= idle.len() - 1;
        }
        Given::Reserved(Reserved { name, chunk: index, pages: idle, missing: PageBits::NONE })
    }

    fn free_pages(&mut self, index: usize, pages: &Range<usize>) -> Given<C> {
        let chunk = self.chunk(index);
        chunk.mark_free(pages);
        let empty = chunk.is_empty();
        self.full_below = self.full_below.min(index);
        if !empty {
            return Given::Kept;
        }
        self.empty += 1;
        if self.empty == 1 { Given::Kept } else { self.remove(index).map_or(Given::Kept, Given::Chunk) }
    }

    /// Adds a chunk, unless there are as many as can be.
    ///
    /// # Errors
    /// The chunk, which is not added.
    #[expect(clippy::result_large_err, reason = "the chunk comes back to its owner, who frees it")]
    pub fn add(&mut self, chunk: Chunk<C>) -> Result<(), Chunk<C>> {
        let Some(index) = self.chunks.iter().position(Option::is_none) else { return Err(chunk) };
        self.chunks[index] = Some(chunk);
        self.end = self.end.max(index + 1);
        self.full_below = self.full_below.min(index);
        self.empty += 1;
        Ok(())
    }

    /// Removes a chunk in which nothing is used, if there is one.
    pub fn trim(&mut self) -> Option<Chunk<C>> {
        let index = self.chunks.iter().position(|chunk| chunk.as_ref().is_some_and(Chunk::is_empty))?;
        self.remove(index)
    }

    fn remove(&mut self, index: usize) -> Option<Chunk<C>> {
        let chunk = self.chunks[index].take()?;
        self.empty -= 1;
        self.spare -= chunk.spare();
        self.end = self.chunks.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        Some(chunk)
    }

    #[inline]
    fn chunk(&mut self, index: usize) -> &mut Chunk<C> {
        match self.chunks.get_mut(index) {
            Some(Some(chunk)) => chunk,
            _ => unreachable!("chunk {index} holds objects"),
        }
    }

    #[inline]
    fn row(&mut self, id: u32) -> &mut Row {
        let (chunk, page) = place(id);
        &mut self.chunk(chunk).rows[page]
    }

    /// Puts a row into the bin of its longest free run; one of which nothing is free into none.
    #[inline]
    fn list(&mut self, id: u32) {
        let row = self.row(id);
        let bin = bin_of(row.longest());
        if bin != usize::from(row.bin) {
            self.unlink(id);
            self.link(id, bin);
        }
    }

    #[inline]
    fn link(&mut self, id: u32, bin: usize) {
        let next = if bin == 0 { NONE } else { self.bins.set_first(bin, id) };
        let row = self.row(id);
        (row.bin, row.previous, row.next) = (bin as u8, NONE, next);
        if next != NONE {
            self.row(next).previous = id;
        }
    }

    #[inline]
    fn unlink(&mut self, id: u32) {
        let row = self.row(id);
        let (bin, previous, next) = (usize::from(row.bin), row.previous, row.next);
        if bin == 0 {
            return;
        }
        if next != NONE {
            self.row(next).previous = previous;
        }
        if previous == NONE {
            self.bins.set_first(bin, next);
        } else {
            self.row(previous).next = next;
        }
    }
}

impl<C: Copy> Default for Space<C> {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(PAGES * PAGE_SIZE <= u32::MAX as usize);

#[cfg(test)]
impl<C: Copy> Space<C> {
    /// The chunk that the search for pages begins with.
    pub(crate) fn first_searched(&self) -> usize {
        self.full_below
    }

    /// Compares counters, bins and hints with what they are made of.
    pub(crate) fn check(&self) {
        let chunks =
            || self.chunks.iter().enumerate().filter_map(|(index, chunk)| Some((index, chunk.as_ref()?)));
        assert_eq!(self.empty, chunks().filter(|(_, chunk)| chunk.is_empty()).count());
        assert_eq!(self.spare, chunks().map(|(_, chunk)| chunk.spare()).sum::<usize>());
        assert!(self.spare <= SPARE_PAGES && self.empty <= 1);
        assert!(
            chunks().all(|(index, chunk)| index < self.end && (index >= self.full_below || chunk.is_full()))
        );
        for (bin, &first) in self.bins.first.iter().enumerate() {
            let (mut previous, mut next) = (NONE, first);
            while next != NONE {
                let (chunk, page) = place(next);
                let row = &self.chunks[chunk].as_ref().expect("listed").rows[page];
                assert_eq!((row.previous, usize::from(row.bin)), (previous, bin));
                assert!(row.longest() < GRANULES && bin_of(row.longest()) < bin + BIN_PARTS);
                assert_eq!(row.longest(), row.measure());
                (previous, next) = (next, row.next);
            }
        }
    }
}
