//! A platform that is wrong in one thing.

extern crate std;

use crate::{
    BLOCK_PAGES, CpuPin, CpuSet, Flusher, Frame, PAGE_SIZE, Platform, Returned, Scope, Shootdown, TlbState,
    tests::machine::Machine,
};
use core::{cell::Cell, ptr::NonNull};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    InInterrupt,
    PinAlwaysZero,
    NoPin,
    HereTooHigh,
    NotOnline,
    OnlyTheFirstOnline,
    NeverRuns,
    NeverRunsNested,
    InterruptsStayOn,
    InterruptsStayOff,
    OtherRoot,
    TooFewBits,
    CountTooHigh,
    OneFrameTooMany,
    NoMoreFrames,
    MoreFreeThanThereAre,
    FreeFramesHidden,
    FrameTwice,
    RootGivenOut,
    FrameBeyondBits,
    NotRam,
    DirectMapOffByAPage,
    DirectMapMoves,
    DirectMapInsideOfPages,
    DirectMapShowsOneForTwo,
    EndsNotKept,
    FrameOfOffByOne,
    FrameOfRoundsUp,
    NoTable,
    TablesNotZeroed,
    TablesZeroOnce,
    TableIsAFrame,
    FrameZeroZeroed,
    HugeNotAligned,
    HugeIsTaken,
    FlushPageNot,
    FlushPageElsewhere,
    FlushAllNot,
    BroadcastPagesNot,
    BroadcastAllNot,
    InterruptsLost,
    OneInterruptLost,
    WaitDoesNotWait,
    WaitGivesUp,
}

/// A machine that is wrong in one thing.
pub(super) struct Wrong<'m> {
    pub machine: &'m Machine,
    pub bug: Bug,
    /// Where an instance would be told of CPUs, if not by the machine.
    shootdown: Shootdown,
    /// The last frame that was taken, and the last one whose place was asked for.
    taken: Cell<Option<Frame>>,
    shown: Cell<Option<Frame>>,
    shows: Cell<usize>,
    tables_given: Cell<usize>,
    pub interrupts_on: Cell<bool>,
}

impl<'m> Wrong<'m> {
    pub fn new(machine: &'m Machine, bug: Bug) -> Self {
        let shootdown = Shootdown::new(std::vec::Vec::from_iter((1..8).map(|_| TlbState::new())).leak());
        if bug == Bug::OnlyTheFirstOnline {
            // SAFETY: there is no instance.
            unsafe { shootdown.set_online(&machine, false) };
        }
        Self {
            machine,
            bug,
            shootdown,
            taken: Cell::new(None),
            shown: Cell::new(None),
            shows: Cell::new(0),
            tables_given: Cell::new(0),
            interrupts_on: Cell::new(true),
        }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn take_one(&self) -> Option<Frame> {
        let mut taken = None;
        self.machine.take_frames(1, |frame| taken = Some(frame));
        taken
    }
}

pub(super) struct Pin<P> {
    inner: P,
    zero: bool,
}

impl<P: CpuPin> CpuPin for Pin<P> {
    fn cpu(&self) -> usize {
        if self.zero { 0 } else { self.inner.cpu() }
    }
}

// SAFETY: it does not keep its promises. The memory is simulated.
unsafe impl<'m> Platform for Wrong<'m> {
    type Pin = Pin<<&'m Machine as Platform>::Pin>;

    fn pin(&self) -> Self::Pin {
        Pin { inner: self.machine.pin(), zero: self.is(Bug::PinAlwaysZero) }
    }

    fn pin_outside_interrupts(&self) -> Option<Self::Pin> {
        (!self.is(Bug::NoPin)).then(|| self.pin())
    }

    fn root(&self) -> Frame {
        let root = self.machine.root();
        if self.is(Bug::OtherRoot) { Frame::new(root.number() + 1) } else { root }
    }

    fn total_frames(&self) -> usize {
        if self.is(Bug::MoreFreeThanThereAre) { 1 } else { self.machine.total_frames() }
    }

    fn free_frames(&self) -> usize {
        if self.is(Bug::FreeFramesHidden) { 3 } else { Platform::free_frames(&self.machine) }
    }

    fn take_frames(&self, count: usize, mut sink: impl FnMut(Frame)) -> usize {
        let asked = match self.bug {
            Bug::NoMoreFrames => count / 2,
            Bug::OneFrameTooMany => count + 1,
            _ => count,
        };
        let mut given = 0;
        let taken = self.machine.take_frames(asked, |frame| {
            given += 1;
            let last = self.taken.replace(Some(frame));
            sink(match (self.bug, given) {
                (Bug::FrameTwice, 21) => last.unwrap_or(frame),
                (Bug::RootGivenOut, 5) => Platform::root(self),
                (Bug::FrameBeyondBits, 7) => Frame::new(1 << 28),
                _ => frame,
            });
        });
        if self.is(Bug::CountTooHigh) { taken + 1 } else { taken }
    }

    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        self.machine.give_frames(frames);
    }

    fn take_huge_frame(&self) -> Option<Frame> {
        let first = self.machine.take_huge_frame()?.number();
        Some(Frame::new(match self.bug {
            Bug::HugeNotAligned => first + 8,
            Bug::HugeIsTaken => self.taken.get()?.number() & !(BLOCK_PAGES as u64 - 1),
            _ => first,
        }))
    }

    fn give_huge_frame(&self, first: Returned<Frame>) {
        self.machine.give_huge_frame(first);
    }

    fn take_table(&self) -> Option<Frame> {
        match self.bug {
            Bug::NoTable => None,
            Bug::TableIsAFrame => self.taken.get(),
            Bug::TablesNotZeroed => self.take_one(),
            Bug::TablesZeroOnce if self.tables_given.get() > 0 => self.take_one(),
            Bug::FrameZeroZeroed => {
                // SAFETY: the frame is there.
                unsafe { self.machine.direct_map(Frame::new(0)).write_bytes(0, PAGE_SIZE) };
                self.machine.take_table()
            }
            _ => self.machine.take_table(),
        }
    }

    fn give_table(&self, frame: Returned<Frame>) {
        self.tables_given.set(self.tables_given.get() + 1);
        self.machine.give_table(frame);
    }

    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        self.shown.set(Some(frame));
        self.shows.set(self.shows.get() + 1);
        let number = frame.number();
        let number = match self.bug {
            _ if frame == Platform::root(self) && !self.is(Bug::DirectMapOffByAPage) => number,
            Bug::DirectMapOffByAPage => number + 1,
            Bug::DirectMapMoves => number + self.shows.get() as u64 % 2,
            Bug::DirectMapShowsOneForTwo => number | 1,
            _ => number,
        };
        let page = self.machine.direct_map(Frame::new(number));
        if self.is(Bug::EndsNotKept) && frame != Platform::root(self) {
            // SAFETY: the last word of the frame.
            unsafe { page.byte_add(PAGE_SIZE - 8).cast::<u64>().write(0) };
        }
        let offset = if self.is(Bug::DirectMapInsideOfPages) { 16 } else { 0 };
        // SAFETY: inside the frame.
        unsafe { page.byte_add(offset) }
    }

    fn is_ram(&self, frame: Frame) -> bool {
        !self.is(Bug::NotRam) && self.machine.is_ram(frame)
    }

    fn physical_bits(&self) -> u32 {
        if self.is(Bug::TooFewBits) { 24 } else { self.machine.physical_bits() }
    }

    fn frame_of(&self, direct: NonNull<u8>) -> Frame {
        let number = self.machine.frame_of(direct).number();
        let is_inside = !(direct.as_ptr() as usize).is_multiple_of(PAGE_SIZE);
        match self.bug {
            Bug::FrameOfOffByOne => Frame::new(number + 1),
            Bug::FrameOfRoundsUp => Frame::new(number + u64::from(is_inside)),
            Bug::DirectMapOffByAPage => Frame::new(number - 1),
            Bug::DirectMapShowsOneForTwo => self.shown.get().unwrap_or(Frame::new(number)),
            _ => Frame::new(number),
        }
    }

    fn shootdown(&self) -> &Shootdown {
        match self.bug {
            Bug::NotOnline | Bug::OnlyTheFirstOnline => &self.shootdown,
            _ => Platform::shootdown(&self.machine),
        }
    }

    fn synchronize(&self) -> bool {
        self.machine.synchronize()
    }

    fn in_interrupt(&self) -> bool {
        self.is(Bug::InInterrupt)
    }
}

// SAFETY: as above.
unsafe impl Flusher for Wrong<'_> {
    fn here(&self) -> usize {
        if self.is(Bug::HereTooHigh) { self.shootdown().cpus() } else { self.machine.here() }
    }

    fn flush_page(&self, address: usize) {
        match self.bug {
            Bug::FlushPageNot => {}
            Bug::FlushPageElsewhere => self.machine.flush_page(address + PAGE_SIZE),
            _ => self.machine.flush_page(address),
        }
    }

    fn flush_all(&self) {
        if !self.is(Bug::FlushAllNot) {
            self.machine.flush_all();
        }
    }

    fn interrupt(&self, cpus: CpuSet) {
        let lost = match self.bug {
            Bug::InterruptsLost => cpus,
            Bug::OneInterruptLost => CpuSet::EMPTY.with_if(2, true),
            _ => CpuSet::EMPTY,
        };
        (&self.machine).interrupt(cpus.without(lost));
    }

    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        match self.bug {
            Bug::WaitDoesNotWait => {}
            Bug::WaitGivesUp => drop((0..3).any(|_| done())),
            _ => self.machine.wait(cpu, done),
        }
    }

    fn uninterrupted(&self, serve: impl FnOnce()) {
        let before = self.interrupts_on.replace(self.is(Bug::InterruptsStayOn));
        let runs = match self.bug {
            Bug::NeverRuns => false,
            Bug::NeverRunsNested => before,
            _ => true,
        };
        if runs {
            self.machine.uninterrupted(serve);
        }
        self.interrupts_on.set(before && !self.is(Bug::InterruptsStayOff));
    }

    fn broadcasts(&self) -> bool {
        Flusher::broadcasts(&self.machine)
    }

    fn broadcast(&self, scope: Scope<'_>) {
        match (self.bug, &scope) {
            (Bug::BroadcastPagesNot, Scope::Pages(_)) | (Bug::BroadcastAllNot, Scope::All) => {}
            _ => self.machine.broadcast(scope),
        }
    }
}
