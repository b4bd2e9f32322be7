//! Frames, tables and 2 MiB frames: each is its taker's alone, at one place in the direct map, and goes back.

use super::{
    Broken, Cpu, Promise, Seen, Untried,
    trial::{Trial, check},
};
use crate::{BLOCK_PAGES, Frame, PAGE_SIZE, Platform, Returned};
use core::ptr::NonNull;

/// Frames that are taken at once.
const FRAMES: usize = 32;
/// Tables: as many as a page needs below the top level one.
const TABLES: usize = 3;
/// Bytes of a word.
const WORD: usize = 8;

pub(super) type Frames = [Frame; FRAMES];
pub(super) type Tables = [Frame; TABLES];

/// Returns the word that is written to a frame, unlike that of any other.
pub(super) fn mark(frame: Frame) -> u64 {
    0x5eed << 48 | frame.number()
}

/// Says that fewer frames were to be had than were asked for, of which so many were said to be free.
fn too_few(asked: usize, taken: usize, free: usize) -> Broken {
    let promise = if free < asked { Promise::Memory } else { Promise::Counts };
    Broken { promise, seen: Seen::TooFew { asked, taken } }
}

impl<P: Platform, C: Cpu> Trial<'_, P, C> {
    /// Takes frames, tries what is promised of them, and leaves its mark in each.
    pub fn take_frames(&mut self) -> Result<Frames, Broken> {
        self.trying(Promise::Counts);
        let (free, total) = (self.platform.free_frames(), self.platform.total_frames());
        check(free <= total, Promise::Counts, || Seen::MoreFree { free, total })?;
        let (mut frames, mut given) = ([Frame::new(0); FRAMES], 0);
        let returned = self.platform.take_frames(FRAMES, |frame| {
            if let Some(place) = frames.get_mut(given) {
                *place = frame;
            }
            given += 1;
        });
        let is_right = returned == given && given <= FRAMES;
        check(is_right, Promise::Counts, || Seen::Miscounted { asked: FRAMES, returned, given })?;
        if given < FRAMES {
            self.platform.give_frames(Returned::new(frames.into_iter().take(given)));
            return Err(too_few(FRAMES, given, free));
        }
        check(given <= free, Promise::Counts, || Seen::FewerFree { free, taken: given })?;
        self.took(FRAMES);
        self.trying(Promise::Frames);
        for (index, &frame) in frames.iter().enumerate() {
            self.try_taken(frame, &frames[..index])?;
        }
        self.trying(Promise::DirectMap);
        frames.iter().try_for_each(|&frame| self.try_shown(frame))?;
        self.try_contents(&frames)?;
        self.trying(Promise::Ram);
        let stranger = frames.into_iter().find(|&frame| !self.platform.is_ram(frame));
        stranger
            .map_or(Ok(frames), |frame| Err(Broken { promise: Promise::Ram, seen: Seen::NotRam { frame } }))
    }

    /// Takes tables, fills them, gives them back, and takes as many again: each time they are full of zeros.
    pub fn take_tables(&mut self, frames: &Frames) -> Result<Tables, Broken> {
        self.trying(Promise::Tables);
        let filled = self.take_zeroed(frames)?;
        for table in filled {
            (0..PAGE_SIZE).step_by(WORD).for_each(|offset| self.write(table, offset, mark(table)));
        }
        self.give_tables(filled);
        self.take_zeroed(frames)
    }

    fn take_zeroed(&mut self, frames: &Frames) -> Result<Tables, Broken> {
        let mut tables = [Frame::new(0); TABLES];
        for index in 0..TABLES {
            let free = self.platform.free_frames();
            let Some(table) = self.platform.take_table() else {
                tables[..index].iter().for_each(|&table| self.platform.give_table(Returned::new(table)));
                self.platform.give_frames(Returned::new(frames.iter().copied()));
                return Err(too_few(TABLES, index, index + free));
            };
            self.took(1);
            self.try_taken(table, frames)?;
            self.try_taken(table, &tables[..index])?;
            self.try_shown(table)?;
            for offset in (0..PAGE_SIZE).step_by(WORD) {
                let word = self.read(table, offset);
                check(word == 0, Promise::Tables, || Seen::NotZero { table, offset, word })?;
            }
            tables[index] = table;
        }
        // What wrote zeros wrote them to the tables.
        frames.iter().try_for_each(|&frame| self.try_word(frame, 0, mark(frame)))?;
        Ok(tables)
    }

    /// Takes a 2 MiB frame, if there is one, tries what is promised of it, and gives it back.
    pub fn try_huge_frame(&mut self, frames: &Frames, tables: &Tables) -> Result<(), Broken> {
        self.trying(Promise::Frames);
        let Some(first) = self.platform.take_huge_frame() else {
            self.report.leave_out(Untried::HugeFrames);
            return Ok(());
        };
        self.took(BLOCK_PAGES);
        let is_aligned = first.number().is_multiple_of(BLOCK_PAGES as u64);
        check(is_aligned, Promise::Frames, || Seen::NotAligned { frame: first })?;
        let inside = first.number()..first.number() + BLOCK_PAGES as u64;
        for &frame in frames.iter().chain(tables) {
            check(!inside.contains(&frame.number()), Promise::Frames, || Seen::TakenTwice { frame })?;
        }
        self.trying(Promise::DirectMap);
        for number in inside {
            let frame = Frame::new(number);
            self.try_shown(frame)?;
            self.write(frame, 0, mark(frame));
        }
        frames.iter().try_for_each(|&frame| self.try_word(frame, 0, mark(frame)))?;
        self.platform.give_huge_frame(Returned::new(first));
        self.held -= BLOCK_PAGES;
        Ok(())
    }

    /// Gives back all that is held.
    pub fn give(&mut self, frames: Frames, tables: Tables) {
        self.platform.give_frames(Returned::new(frames.into_iter()));
        self.held -= FRAMES;
        self.give_tables(tables);
    }

    fn give_tables(&mut self, tables: Tables) {
        tables.into_iter().for_each(|table| self.platform.give_table(Returned::new(table)));
        self.held -= TABLES;
    }

    fn took(&mut self, frames: usize) {
        self.held += frames;
        self.report.frames += frames;
    }

    /// Tries a frame that was taken: the CPUs have such an address, and it is none of these, which are taken already, nor
    /// the top level page table.
    fn try_taken(&self, frame: Frame, taken: &[Frame]) -> Result<(), Broken> {
        let bits = self.platform.physical_bits();
        let is_there = bits >= u64::BITS || frame.address() >> bits == 0;
        check(is_there, Promise::PhysicalBits, || Seen::BeyondBits { frame, bits })?;
        let is_new = !taken.contains(&frame) && frame != self.platform.root();
        check(is_new, Promise::Frames, || Seen::TakenTwice { frame })
    }

    /// Tries where the direct map shows a frame.
    fn try_shown(&self, frame: Frame) -> Result<(), Broken> {
        const BROKEN: Promise = Promise::DirectMap;
        let place = self.platform.direct_map(frame);
        let (first, second) = (place.as_ptr() as usize, self.platform.direct_map(frame).as_ptr() as usize);
        check(first == second, BROKEN, || Seen::TwoAddresses { frame, first, second })?;
        let address = first;
        check(address.is_multiple_of(PAGE_SIZE), BROKEN, || Seen::NoPage { frame, address })?;
        for offset in [0, PAGE_SIZE - 1] {
            let inside = place.as_ptr().wrapping_add(offset);
            let Some(inside) = NonNull::new(inside) else { continue };
            let returned = self.platform.frame_of(inside);
            check(returned == frame, BROKEN, || Seen::NoInverse { frame, address, returned })?;
        }
        self.try_mapped(frame, address)
    }

    /// Tries whether frames keep what is written to them, each its own, and leaves its mark in each.
    fn try_contents(&self, frames: &Frames) -> Result<(), Broken> {
        let unmark: fn(Frame) -> u64 = |frame| !mark(frame);
        for word in [unmark, mark] {
            for offset in [PAGE_SIZE - WORD, 0] {
                frames.iter().for_each(|&frame| self.write(frame, offset, word(frame)));
                frames.iter().try_for_each(|&frame| self.try_word(frame, offset, word(frame)))?;
            }
        }
        Ok(())
    }

    fn try_word(&self, frame: Frame, offset: usize, written: u64) -> Result<(), Broken> {
        let (address, read) = (self.platform.direct_map(frame).as_ptr() as usize, self.read(frame, offset));
        check(read == written, Promise::DirectMap, || Seen::Lost { frame, address, written, read })
    }

    fn word(&self, frame: Frame, offset: usize) -> NonNull<u64> {
        // SAFETY: promise 2 of `Platform`: the bytes of the frame are there. The offset stays inside.
        unsafe { self.platform.direct_map(frame).byte_add(offset) }.cast()
    }

    fn read(&self, frame: Frame, offset: usize) -> u64 {
        // SAFETY: promises 1 and 2 of `Platform`: the frame was taken, and its bytes are there; that they are was tried as
        // far as it can be.
        unsafe { self.word(frame, offset).read_volatile() }
    }

    fn write(&self, frame: Frame, offset: usize, word: u64) {
        // SAFETY: as above.
        unsafe { self.word(frame, offset).write_volatile(word) };
    }
}
