//! What the benchmark says of waits for locks, and of flushes.

use alloc::{string::ToString, sync::Arc};
use core::{
    panic::Location,
    sync::atomic::{AtomicBool, Ordering},
};
use kernel::console::lockinfo;
use kernel::{
    arch::{
        cpu::{self, Pin},
        tsc,
    },
    lock_class,
    sync::{
        IrqLock, SpinLock,
        stat::{self, Counted},
        waits,
    },
    test_vmalloc::PerMillion,
    threads::Builder,
};
use vmalloc::{CpuPin, LockClass};

/// Microseconds after which nothing will happen any more.
const LIMIT: u64 = 20_000_000;

/// Waits that are counted while this CPU has a lock that `wait` waits for on another one.
fn waits_for(hold: impl FnOnce(&dyn Fn()), wait: impl FnOnce() + Send + 'static) {
    let Some(other) = cpu::online().iter().find(|&number| number != cpu::current()) else { return };
    let held = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&held);
    let waiter = Builder::new("test").on_cpu(other).spawn(move || {
        while !seen.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
        wait();
    });
    let waiter = waiter.expect("memory enough");
    hold(&|| {
        let before = waits::total();
        held.store(true, Ordering::Release);
        assert!(tsc::spin_until(LIMIT, || waits::total() > before), "a wait was not counted");
    });
    waiter.join();
}

/// Seen failing with a `SpinLock` that waits without a word.
#[test_case]
fn waits_for_locks_are_counted() {
    static SPIN: SpinLock<()> = SpinLock::new(lock_class!("test"), ());
    static IRQ: IrqLock<()> = IrqLock::new(lock_class!("test"), ());
    waits_for(
        |check| {
            let _guard = SPIN.lock();
            check();
        },
        || drop(SPIN.lock()),
    );
    waits_for(
        |check| {
            let _guard = IRQ.lock();
            check();
        },
        || drop(IRQ.lock()),
    );
}

#[test_case]
fn the_librarys_waits_are_counted_with_the_kernels() {
    let before = waits::total();
    Pin::new().waiting(LockClass::Block, || ());
    assert!(waits::total() > before);
}

/// What was counted of a class, if anything ever was.
fn counted(name: &str) -> Option<Counted> {
    stat::counted().find(|counted| counted.name == name)
}

/// Runs with locks counted.
fn counting(body: impl FnOnce()) {
    stat::switch().store(1, Ordering::Relaxed);
    body();
    stat::switch().store(0, Ordering::Relaxed);
}

/// Two locks of a class are taken: one on this CPU, and held while another CPU waits for it. How long it is held, at least.
fn hold_while_another_cpu_waits(lock: &'static SpinLock<()>) -> u64 {
    let mut held = 0;
    waits_for(
        |check| {
            let _guard = lock.lock();
            check();
            let start = tsc::now();
            while held < tsc::cycles(100) {
                held = tsc::now() - start;
            }
        },
        || drop(lock.lock()),
    );
    held
}

/// Seen failing with what is off counted, and with a reset that resets nothing.
#[test_case]
fn locks_are_counted_by_class_while_that_is_on() {
    const NAME: &str = "test of lockinfo";
    static LOCK: SpinLock<()> = SpinLock::new(lock_class!(NAME), ());
    if cpu::online().count() == 1 {
        return;
    }
    hold_while_another_cpu_waits(&LOCK);
    let is_empty = |counted: Counted| counted == Counted { name: NAME, ..Counted::default() };
    assert!(counted(NAME).is_none_or(is_empty), "counted while that was off: {:?}", counted(NAME));
    let mut held = 0;
    counting(|| held = hold_while_another_cpu_waits(&LOCK));
    let counts = counted(NAME).expect("counted");
    assert_eq!((counts.taken, counts.waits), (2, 1), "{counts:?}");
    assert!(counts.waited > 0 && counts.waited == counts.longest_wait, "{counts:?}");
    assert!(counts.longest_hold >= held, "{held} of {counts:?}");
    lockinfo(&[]).expect("right");
    lockinfo(&["reset"]).expect("right");
    assert!(counted(NAME).is_none_or(is_empty), "{:?}", counted(NAME));
    // What is held when counting begins or ends is forgotten.
    stat::switch().store(1, Ordering::Relaxed);
    let guard = LOCK.lock();
    stat::switch().store(0, Ordering::Relaxed);
    drop(guard);
    let guard = LOCK.lock();
    counting(|| drop(guard));
    assert_eq!(counted(NAME).map(|counts| counts.taken), Some(1));
    assert_eq!(lockinfo(&["all"]).expect_err("wrong").to_string(), "all: neither nothing nor reset");
}

/// The library's locks are of classes, too, and the library's own wait is called once.
#[test_case]
fn the_librarys_locks_are_counted_by_class() {
    let (pin, mut calls) = (Pin::new(), 0);
    let before = counted("vmalloc notifiers").map_or((0, 0), |counts| (counts.taken, counts.waits));
    counting(|| {
        pin.acquiring(LockClass::Notifiers, Location::caller());
        pin.waiting(LockClass::Notifiers, || calls += 1);
        pin.released(LockClass::Notifiers);
    });
    let after = counted("vmalloc notifiers").map(|counts| (counts.taken, counts.waits));
    assert_eq!((calls, after), (1, Some((before.0 + 1, before.1 + 1))));
    stat::reset();
}

/// Seen failing, with 87000000 interrupts per million loops after one loop, when few loops are no exception.
#[test_case]
fn rates_are_shown_only_where_there_are_loops_enough() {
    let shown = |count, loops| PerMillion { what: "interrupts ", count, loops }.to_string();
    assert_eq!(shown(87, 1), "");
    assert_eq!(shown(87, 0), "");
    assert_eq!(shown(87, 9_999), "");
    assert_eq!(shown(87, 10_000), "; 8700 interrupts per million loops");
    assert_eq!(shown(u64::MAX, 2_000_000), "; 9223372036854775807 interrupts per million loops");
}
