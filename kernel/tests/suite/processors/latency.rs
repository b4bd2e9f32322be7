//! How long others are kept waiting is measured; sleepers are woken by the timer, not by luck of the tick.

use core::sync::atomic::Ordering;
use kernel::{
    arch::{
        apic::Vector,
        cpu::{
            self, Pin, interrupt_flag,
            sections::{self, Kind, Section},
        },
        interrupts, tsc,
    },
    console,
    threads::{self, Builder},
};

/// Microseconds that other sections hardly take.
const LONG: u64 = 20_000;

/// What a busy computer may spoil is tried again: once it must be so.
pub(super) fn once(what: &str, attempt: impl Fn() -> bool) {
    assert!((0..100).any(|_| attempt()), "{what}");
}

fn spin(microseconds: u64) {
    tsc::spin_until(microseconds, || false);
}

/// The longest section of this kind on this CPU while `body` runs; `main` stays here.
fn longest_of(kind: Kind, body: impl FnOnce()) -> Option<Section> {
    interrupts::call_on_all(sections::reset);
    body();
    sections::longest(kind, cpu::current())
}

fn is_at(section: Option<Section>, line: u32, microseconds: u64) -> bool {
    section.is_some_and(|section| {
        section.began.file() == file!()
            && section.began.line() == line
            && section.cycles >= tsc::cycles(microseconds)
            && section.ended != 0
    })
}

/// The pin ends elsewhere than it began, as those of guards do.
#[test_case]
fn a_long_section_with_preemption_off_is_found_with_its_place() {
    const LINE: u32 = line!() + 1;
    let begin = || Pin::new();
    once("found", || {
        let section = longest_of(Kind::Preemption, || {
            let pin = begin();
            spin(LONG);
            drop(pin);
        });
        is_at(section, LINE, LONG)
    });
}

/// Seen failing when a pin begins a section though one is under way.
#[test_case]
fn nested_pins_are_one_section() {
    once("one section", || {
        let mut line = 0;
        let section = longest_of(Kind::Preemption, || {
            line = line!() + 1;
            let outer = Pin::new();
            drop(Pin::new());
            spin(LONG);
            let inner = Pin::new();
            drop(outer);
            spin(LONG);
            drop(inner);
        });
        is_at(section, line, 2 * LONG)
    });
}

#[test_case]
fn a_long_section_with_interrupts_off_is_found_with_its_place() {
    once("found", || {
        let mut line = 0;
        let section = longest_of(Kind::Interrupts, || {
            line = line!() + 1;
            interrupt_flag::without_interrupts(|| {
                interrupt_flag::without_interrupts(|| spin(LONG));
                spin(LONG);
            });
        });
        is_at(section, line, 2 * LONG)
    });
}

#[test_case]
fn handlers_are_sections_of_both_kinds() {
    let cpu = cpu::online().iter().last().expect("one at least");
    for kind in [Kind::Preemption, Kind::Interrupts] {
        once("found", || {
            interrupts::call_on_all(sections::reset);
            interrupts::call_on(cpu, || spin(LONG));
            // The handler says that it is done before its section ends; when the next one runs it has ended.
            interrupts::call_on(cpu, || ());
            sections::longest(kind, cpu).is_some_and(|section| {
                section.began.file().contains("arch/interrupts/") && section.cycles >= tsc::cycles(LONG)
            })
        });
    }
}

/// Neither a thread that sleeps nor a CPU that stands idle is in a section. Seen failing when a section's
/// end leaves its beginning, and when the idle thread turns interrupts on unseen.
#[test_case]
fn sleep_and_idleness_are_no_section() {
    for kind in [Kind::Preemption, Kind::Interrupts] {
        once("no section", || {
            let section = longest_of(kind, || threads::sleep(2 * LONG));
            // A tick would end it.
            let tick = 1_000_000 / u64::from(threads::HERTZ);
            section.is_some_and(|section| section.cycles < tsc::cycles(tick * 3 / 4))
        });
    }
}

/// Seen failing when CPUs do not follow the switch.
#[test_case]
fn the_meter_can_be_turned_off() {
    let before = sections::switch().swap(0, Ordering::Relaxed);
    interrupts::call_on_all(sections::reset);
    drop(Pin::new());
    threads::sleep(LONG);
    let measured = |kind| cpu::online().iter().any(|cpu| sections::longest(kind, cpu).is_some());
    assert!(!measured(Kind::Preemption) && !measured(Kind::Interrupts));
    sections::switch().store(1, Ordering::Relaxed);
    interrupts::call_on_all(sections::reset);
    threads::sleep(LONG);
    assert!(measured(Kind::Preemption) && measured(Kind::Interrupts));
    sections::switch().store(before, Ordering::Relaxed);
    interrupts::call_on_all(sections::reset);
}

/// Were there ticks alone, there would be no more interrupts than ticks. Seen failing when the timer is set
/// to the next tick only.
#[test_case]
fn the_timer_wakes_sleepers_between_ticks() {
    const SLEEPS: u64 = 20;
    once("most sleeps end between ticks", || {
        let this = cpu::current();
        let interrupts = || interrupts::handled(this, Vector::Timer);
        let (before, start) = (interrupts(), tsc::now());
        for _ in 0..SLEEPS {
            let began = tsc::now();
            threads::sleep(1000);
            assert!(tsc::now() - began >= tsc::cycles(1000), "before its time");
        }
        let took = tsc::microseconds(tsc::now() - start);
        let ticks = took * u64::from(threads::HERTZ) / 1_000_000 + 1;
        interrupts() - before >= ticks + SLEEPS / 2
    });
}

#[test_case]
fn a_time_that_has_passed_is_not_waited_for() {
    threads::sleep_until(tsc::now());
    threads::sleep_until(0);
}

/// The sleepers of a CPU wake in the order of their times, whoever fell asleep first: the timer is set anew
/// for each that goes before.
#[test_case]
fn who_sleeps_less_is_woken_first() {
    let start = tsc::now() + tsc::cycles(2 * LONG);
    let woken = [3, 1, 2].map(|turn| {
        let thread = Builder::new("test").on_cpu(cpu::current()).spawn(move || {
            threads::sleep_until(start + turn * tsc::cycles(LONG));
            (turn, tsc::now())
        });
        thread.expect("memory enough")
    });
    let mut woken = woken.map(threads::JoinHandle::join);
    woken.sort_unstable_by_key(|&(_, time)| time);
    assert_eq!(woken.map(|(turn, _)| turn), [1, 2, 3]);
}

#[test_case]
fn latency_measures_with_and_without_load() {
    console::latency(&["seconds=1"]).expect("memory enough");
    console::latency(&["seconds=1", "load=9"]).expect("memory enough");
    console::latency(&["seconds=1", "free=lazy"]).expect("memory enough");
}
