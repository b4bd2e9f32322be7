//! What the benchmark says of waits for locks, and of flushes.

use alloc::{string::ToString, sync::Arc};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::{
    arch::{
        cpu::{self, Pin},
        tsc,
    },
    lock_class,
    sync::{IrqLock, SpinLock, waits},
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
    Pin::new().waiting(LockClass::Block);
    assert!(waits::total() > before);
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
