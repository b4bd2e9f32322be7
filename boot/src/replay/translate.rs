//! Makes calls of events: a call and its return are paired by task, areas are found by Linux's addresses.
//!
//! What is kept is what is alive: areas, and calls that have not returned. An area that Linux made in no call that the
//! trace shows is taken from `alloc_vmap_area`, which knows its address space only; so a trace of nothing but Linux's own
//! events gives calls too.

use std::collections::HashMap;

use protocol::replay::{Action, Call, Header};

use super::event::{Event, Kind, Making};
use super::linux::Linux;
use crate::bench::experiments::replayed::Skipped;
use crate::lines::line::Record;

const PAGE: u64 = 4096;

/// What has been seen of a trace so far.
#[derive(Debug, Default)]
pub struct Translator {
    areas: HashMap<u64, Live>,
    ram: HashMap<u64, Live>,
    begun: HashMap<Task, Begun>,
    free_slots: Vec<u32>,
    start: Option<u64>,
    time: u64,
    calls: Vec<Call>,
    header: Header,
    /// What Linux did.
    pub linux: Linux,
    /// What could not be made calls of.
    pub skipped: Skipped,
}

/// An area that is alive.
#[derive(Debug)]
struct Live {
    slot: u32,
    free: Action,
}

/// A call that has not returned.
#[derive(Debug)]
struct Begun {
    making: Making,
    cpu: u16,
}

/// Who makes a call: a task makes one at a time. Each CPU has an idle task, all of them of number 0.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Task {
    pid: u32,
    idle_of: u16,
}

impl Task {
    fn of(record: &Record<'_>) -> Self {
        Self { pid: record.pid, idle_of: if record.pid == 0 { record.cpu } else { 0 } }
    }
}

impl Translator {
    /// Returns the nanoseconds from the first event to the last.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Returns what the calls so far need.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Some events of a CPU were lost: which of its calls returned is not known.
    pub fn lost(&mut self, cpu: u16, events: u64) {
        self.skipped.lost += events;
        let before = self.begun.len();
        self.begun.retain(|_, begun| begun.cpu != cpu);
        self.skipped.unpaired += (before - self.begun.len()) as u64;
    }

    /// Takes the next event, and returns the calls that it makes.
    pub fn event(&mut self, record: &Record<'_>, event: Event) -> std::vec::Drain<'_, Call> {
        let start = *self.start.get_or_insert(record.time);
        // Lines of several CPUs may be out of order by a little.
        self.time = self.time.max(record.time.saturating_sub(start));
        self.linux.see(&event);
        match event {
            Event::Begin(making) => {
                let begun = Begun { making, cpu: record.cpu };
                let former = self.begun.insert(Task::of(record), begun);
                self.skipped.unpaired += u64::from(former.is_some());
            }
            Event::End(kind, address) => match self.begun.remove(&Task::of(record)) {
                Some(Begun { making, cpu }) if making.kind() == kind => self.make(making, address, cpu),
                _ => self.skipped.unpaired += 1,
            },
            // The call tells more, when it returns.
            Event::AllocArea { .. } if self.begun.contains_key(&Task::of(record)) => {}
            Event::AllocArea { start, size, align, failed } => {
                let size = size.saturating_sub(PAGE).max(PAGE);
                let address = if failed { 0 } else { start };
                self.make(Making::Vmalloc { size, align }, address, record.cpu);
            }
            // What is freed in a call that the trace shows is no longer alive.
            Event::FreeArea { start, .. } => {
                if let Some(live) = self.areas.remove(&start) {
                    self.free(live, record.cpu);
                }
            }
            Event::Free(_, 0) => {}
            Event::Free(kind, address) => match self.of(kind).remove(&address) {
                Some(live) => self.free(live, record.cpu),
                None => self.skipped.unknown += 1,
            },
            Event::UnmapAliases => self.call(Action::VmUnmapAliases, 0, record.cpu),
            Event::Purge(_) => {}
            Event::Other => self.skipped.other += 1,
        }
        self.calls.drain(..)
    }

    fn of(&mut self, kind: Kind) -> &mut HashMap<u64, Live> {
        if kind == Kind::Ram { &mut self.ram } else { &mut self.areas }
    }

    /// An area was made at an address, or with the address 0 was not, and is freed at once.
    fn make(&mut self, making: Making, address: u64, cpu: u16) {
        if let Some(live) = self.of(making.kind()).remove(&address) {
            self.skipped.unseen += 1;
            self.free(live, cpu);
        }
        let (action, free) = match making {
            Making::Vmalloc { size, align } => {
                let align = align.clamp(1, 1 << 62).next_power_of_two().trailing_zeros() as u8;
                (Action::Vmalloc { size, align }, Action::Vfree)
            }
            Making::Vmap { pages } => (Action::Vmap { pages }, Action::Vunmap),
            Making::Ram { pages } => (Action::VmMapRam { pages }, Action::VmUnmapRam),
        };
        if let Action::Vmap { pages } | Action::VmMapRam { pages } = action {
            self.header.frames = self.header.frames.max(pages);
        }
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.header.slots += 1;
            self.header.slots - 1
        });
        self.call(action, slot, cpu);
        let live = Live { slot, free };
        if address == 0 {
            self.free(live, cpu);
        } else {
            self.of(making.kind()).insert(address, live);
        }
    }

    fn free(&mut self, live: Live, cpu: u16) {
        self.call(live.free, live.slot, cpu);
        self.free_slots.push(live.slot);
    }

    fn call(&mut self, action: Action, slot: u32, cpu: u16) {
        self.header.calls += 1;
        self.header.cpus = self.header.cpus.max(cpu.saturating_add(1));
        let cpu = cpu.min(u16::MAX - 1);
        self.calls.push(Call { action, slot, cpu, time: self.time });
    }
}
