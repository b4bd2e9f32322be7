//! What a machine does where it has nothing of its own, and that a machine that is lent does what its owner does.

extern crate std;

use super::*;
use crate::{
    AreaInfo, CpuSet, Event, Scope, TlbState,
    tests::{
        machine::Machine,
        support::{address, instance},
    },
};
use core::cell::RefCell;
use std::{format, string::String, vec, vec::Vec};

/// What a machine was told, one text a call.
type Log = RefCell<Vec<String>>;

/// A machine that has no more than it must. All frames have the bytes of one.
struct Least {
    table: NonNull<Table>,
    shootdown: Shootdown,
    log: Log,
}

impl Least {
    fn new(table: &mut Table) -> Self {
        const NONE: &[TlbState] = &[];
        Self { table: NonNull::from(table), shootdown: Shootdown::new(NONE), log: Log::default() }
    }

    fn says(&self, what: &str) {
        self.log.borrow_mut().push(what.into());
    }
}

// SAFETY: there is one CPU, and it has no translations.
unsafe impl Flusher for Least {
    fn here(&self) -> usize {
        0
    }
    fn flush_page(&self, _: usize) {}
    fn flush_all(&self) {}
}

// SAFETY: no instance is made over it.
unsafe impl Platform for Least {
    type Pin = SingleCpu;

    fn pin(&self) -> SingleCpu {
        SingleCpu
    }
    fn root(&self) -> Frame {
        Frame::new(1)
    }
    fn total_frames(&self) -> usize {
        12
    }
    fn take_frames(&self, count: usize, mut sink: impl FnMut(Frame)) -> usize {
        (0..count as u64).for_each(|number| sink(Frame::new(5 + number)));
        count
    }
    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        let numbers: Vec<u64> = frames.into_iter().map(Frame::number).collect();
        self.says(&format!("{} from {:?}", numbers.len(), numbers.first()));
    }
    fn direct_map(&self, _: Frame) -> NonNull<u8> {
        self.table.cast()
    }
    fn is_ram(&self, _: Frame) -> bool {
        true
    }
    fn physical_bits(&self) -> u32 {
        40
    }
    fn frame_of(&self, _: NonNull<u8>) -> Frame {
        Frame::new(5)
    }
    fn shootdown(&self) -> &Shootdown {
        &self.shootdown
    }
    fn in_interrupt(&self) -> bool {
        false
    }
}

fn overrun() -> Overrun {
    let machine = Machine::new(1, 200);
    let vmalloc = instance(&machine, 1);
    let start = address(vmalloc.vmalloc(PAGE_SIZE).expect("room"));
    let area: AreaInfo = vmalloc.find_area(start).expect("allocated");
    Overrun { area, offset: 3, bytes: 2, found: 7, freed_by: Location::caller() }
}

#[test]
fn a_machine_without_more_does_without() {
    let mut table = Table { entries: [const { AtomicU64::new(7) }; 512] };
    let machine = Least::new(&mut table);
    assert_eq!((machine.pin_outside_interrupts().map(|pin| pin.cpu()), machine.free_frames()), (Some(0), 12));
    assert_eq!((machine.take_huge_frame(), machine.page_attribute_table()), (None, 0x0007_0406_0007_0406));
    assert!(!machine.wake_purger() && !machine.pause() && !machine.synchronize() && !machine.broadcasts());
    assert_eq!((machine.now(), machine.thread_tag()), (0, [0; 16]));
    machine.trace(Event::Flush { pages: None, caller: Location::caller() });
    assert_eq!(machine.take_table(), Some(Frame::new(5)));
    machine.give_table(Returned::new(Frame::new(5)));
    machine.give_huge_frame(Returned::new(Frame::new(512)));
    assert_eq!(machine.log.take(), ["1 from Some(5)", "512 from Some(512)"]);
    let mut served = 0;
    machine.interrupt(CpuSet::from_bits(0));
    machine.wait(1, || true);
    machine.uninterrupted(|| served += 1);
    let pin = SingleCpu;
    pin.acquiring(LockClass::Pool, Location::caller());
    pin.waiting(LockClass::Pool, || served += 1);
    pin.released(LockClass::Pool);
    assert_eq!(served, 2);
    assert!(table.iter().all(|entry| entry.load(core::sync::atomic::Ordering::Relaxed) == 0));
}

#[test]
#[should_panic(expected = "2 bytes were written behind the 4096 that were asked for")]
fn a_machine_without_more_ends_when_memory_is_not_what_it_should_be() {
    let mut table = Table { entries: [const { AtomicU64::new(0) }; 512] };
    Least::new(&mut table).report_overrun(&overrun());
}

/// The defaults of a machine of one CPU name what is asked of it though there are more.
#[test]
#[should_panic(expected = "a machine of several CPUs interrupts them")]
fn one_cpu_interrupts_nobody() {
    let mut table = Table { entries: [const { AtomicU64::new(0) }; 512] };
    Least::new(&mut table).interrupt(CpuSet::from_bits(2));
}

#[test]
#[should_panic(expected = "a machine of several CPUs waits for CPU 1")]
fn one_cpu_waits_for_nobody() {
    let mut table = Table { entries: [const { AtomicU64::new(0) }; 512] };
    Least::new(&mut table).wait(1, || false);
}

#[test]
#[should_panic(expected = "a machine that cannot broadcast All")]
fn one_cpu_broadcasts_nothing() {
    let mut table = Table { entries: [const { AtomicU64::new(0) }; 512] };
    Least::new(&mut table).broadcast(Scope::All);
}

/// A machine with something of its own everywhere, which says `answer` wherever it is asked.
struct Own {
    least: Least,
    answer: bool,
}

impl Own {
    fn says(&self, what: &str) -> bool {
        self.least.says(what);
        self.answer
    }
}

// SAFETY: as above.
unsafe impl Flusher for Own {
    fn here(&self) -> usize {
        21
    }
    fn flush_page(&self, address: usize) {
        self.says(&format!("flush_page {address}"));
    }
    fn flush_all(&self) {
        self.says("flush_all");
    }
    fn interrupt(&self, cpus: CpuSet) {
        self.says(&format!("interrupt {cpus:?}"));
    }
    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        self.says(&format!("wait {cpu} {}", done()));
    }
    fn uninterrupted(&self, serve: impl FnOnce()) {
        self.says("uninterrupted");
        serve();
    }
    fn broadcasts(&self) -> bool {
        self.says("broadcasts")
    }
    fn broadcast(&self, scope: Scope<'_>) {
        self.says(&format!("broadcast {scope:?}"));
    }
}

// SAFETY: as above.
unsafe impl Platform for Own {
    type Pin = SingleCpu;

    fn pin(&self) -> SingleCpu {
        self.says("pin");
        SingleCpu
    }
    fn pin_outside_interrupts(&self) -> Option<SingleCpu> {
        self.says("pin_outside_interrupts").then_some(SingleCpu)
    }
    fn root(&self) -> Frame {
        Frame::new(11)
    }
    fn total_frames(&self) -> usize {
        12
    }
    fn free_frames(&self) -> usize {
        13
    }
    fn take_frames(&self, count: usize, mut sink: impl FnMut(Frame)) -> usize {
        sink(Frame::new(14));
        count + 1
    }
    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        self.least.give_frames(frames);
    }
    fn take_huge_frame(&self) -> Option<Frame> {
        Some(Frame::new(512))
    }
    fn give_huge_frame(&self, first: Returned<Frame>) {
        self.says(&format!("give_huge_frame {:?}", first.into_inner()));
    }
    fn take_table(&self) -> Option<Frame> {
        Some(Frame::new(15))
    }
    fn give_table(&self, frame: Returned<Frame>) {
        self.says(&format!("give_table {:?}", frame.into_inner()));
    }
    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        self.least.direct_map(frame)
    }
    fn is_ram(&self, frame: Frame) -> bool {
        self.says(&format!("is_ram {frame:?}"))
    }
    fn physical_bits(&self) -> u32 {
        41
    }
    fn page_attribute_table(&self) -> u64 {
        16
    }
    fn frame_of(&self, _: NonNull<u8>) -> Frame {
        Frame::new(17)
    }
    fn shootdown(&self) -> &Shootdown {
        &self.least.shootdown
    }
    fn wake_purger(&self) -> bool {
        self.says("wake_purger")
    }
    fn pause(&self) -> bool {
        self.says("pause")
    }
    fn synchronize(&self) -> bool {
        self.says("synchronize")
    }
    fn in_interrupt(&self) -> bool {
        self.says("in_interrupt")
    }
    fn trace(&self, event: Event) {
        self.says(&format!("trace {event:?}"));
    }
    fn now(&self) -> u64 {
        18
    }
    fn thread_tag(&self) -> [u8; 16] {
        [19; 16]
    }
    fn report_overrun(&self, overrun: &Overrun) {
        self.says(&format!("report_overrun {}", overrun.offset));
    }
}

/// Makes each call once, and returns the results.
fn all_calls(machine: &impl Platform, event: Event) -> Vec<String> {
    let (mut taken, mut served) = (Vec::new(), 0);
    let result = vec![
        format!("{} {:?}", machine.here(), machine.pin().cpu()),
        format!("{:?}", machine.pin_outside_interrupts().map(|pin| pin.cpu())),
        format!("{:?} {} {}", machine.root(), machine.total_frames(), machine.free_frames()),
        format!("{}", machine.take_frames(3, |frame| taken.push(frame))),
        format!("{:?} {:?}", machine.take_huge_frame(), machine.take_table()),
        format!("{:?} {}", machine.direct_map(Frame::new(1)), machine.is_ram(Frame::new(2))),
        format!("{} {}", machine.physical_bits(), machine.page_attribute_table()),
        format!("{:?} {:p}", machine.frame_of(NonNull::dangling()), machine.shootdown()),
        format!("{} {} {}", machine.wake_purger(), machine.pause(), machine.synchronize()),
        format!("{} {} {:?}", machine.in_interrupt(), machine.now(), machine.thread_tag()),
        format!("{}", machine.broadcasts()),
    ];
    machine.give_frames(Returned::new([3, 4].map(Frame::new).into_iter()));
    machine.give_huge_frame(Returned::new(Frame::new(1024)));
    machine.give_table(Returned::new(Frame::new(5)));
    machine.trace(event);
    machine.report_overrun(&overrun());
    machine.flush_page(6);
    machine.flush_all();
    machine.interrupt(CpuSet::from_bits(6));
    machine.wait(7, || true);
    machine.uninterrupted(|| served += 1);
    machine.broadcast(Scope::All);
    result.into_iter().chain([format!("{taken:?} {served}")]).collect()
}

/// Seen failing with each default in the place of the machine's own.
#[test]
fn a_machine_that_is_lent_does_what_its_owner_does() {
    for answer in [false, true] {
        let mut table = Table { entries: [const { AtomicU64::new(0) }; 512] };
        let machine = Own { least: Least::new(&mut table), answer };
        let event = Event::Flush { pages: Some(8), caller: Location::caller() };
        let own = (all_calls(&machine, event), machine.least.log.take());
        let lent = (all_calls(&&machine, event), machine.least.log.take());
        assert_eq!(own, lent);
        assert_eq!(own.1.len(), 19, "each is told: {:?}", own.1);
    }
}
