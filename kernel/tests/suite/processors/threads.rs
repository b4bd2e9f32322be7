//! Threads begin, take turns, wait for each other and end, on all CPUs.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use kernel::{
    arch::{
        cpu::{self, Pin},
        tsc,
    },
    lock_class,
    services::deferred,
    sync::{SpinLock, order},
    threads::{self, Builder, Class, JoinHandle, SpawnError, WaitQueue, grace},
};
use vmalloc::AllocError;

fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    threads::spawn("test", body).expect("memory enough")
}

fn on_cpu<T: Send + 'static>(cpu: usize, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new("test").on_cpu(cpu).spawn(body).expect("memory enough")
}

/// Spins, without ever giving the CPU away, until `done`.
fn spin_until(done: impl Fn() -> bool) {
    while !done() {
        core::hint::spin_loop();
    }
}

fn flag() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

#[test_case]
fn a_thread_gives_its_result_to_who_joins_it() {
    let text = alloc::string::String::from("moved in");
    let thread = spawn(move || (text.len(), text));
    assert_eq!(thread.thread().name(), "test");
    assert_eq!(thread.join(), (8, "moved in".into()));
    let nested = spawn(|| spawn(|| spawn(|| 7).join() + 1).join() + 1);
    assert_eq!(nested.join(), 9);
}

#[test_case]
fn what_a_thread_cannot_be_is_refused() {
    let refused = |builder: Builder<'_>| builder.spawn(|| ()).map(drop).expect_err("wrong");
    let cpu = cpu::online().count();
    assert_eq!(refused(Builder::new("test").on_cpu(cpu)), SpawnError::NoSuchCpu { cpu });
    assert_eq!(refused(Builder::new("test").class(Class::Idle)), SpawnError::WrongClass);
    let size = usize::MAX;
    let huge = refused(Builder::new("test").stack(usize::MAX));
    assert_eq!(huge, SpawnError::OutOfMemory(AllocError::TooLarge { size }));
}

#[test_case]
fn many_threads_count_under_one_lock() {
    let sum = Arc::new(SpinLock::new(lock_class!("test sum"), 0));
    let threads: Vec<_> = (0..50)
        .map(|_| {
            let sum = Arc::clone(&sum);
            spawn(move || (0..100).for_each(|_| *sum.lock() += 1))
        })
        .collect();
    threads.into_iter().for_each(JoinHandle::join);
    assert_eq!(*sum.lock(), 5000);
}

#[test_case]
fn a_thousand_threads_leave_nothing_behind() {
    for _ in 0..10 {
        let threads: Vec<_> = (0..100).map(|number| spawn(move || number)).collect();
        assert_eq!(threads.into_iter().map(JoinHandle::join).sum::<usize>(), 4950);
    }
}

#[test_case]
fn threads_that_nobody_joins_are_given_back_too() {
    let ran = Arc::new(AtomicUsize::new(0));
    let before = threads::living();
    for _ in 0..20 {
        let ran = Arc::clone(&ran);
        drop(spawn(move || ran.fetch_add(1, Ordering::Relaxed)));
    }
    while ran.load(Ordering::Relaxed) < 20 || threads::living() > before {
        threads::sleep(1000);
    }
}

/// Two that never yield, on one CPU, can see each other's stores only if each is preempted.
#[test_case]
fn a_thread_that_never_yields_is_preempted() {
    let turns = Arc::new(AtomicUsize::new(0));
    let threads = [0, 1].map(|mine| {
        let turns = Arc::clone(&turns);
        on_cpu(0, move || {
            for turn in 0..4 {
                spin_until(|| turns.load(Ordering::Relaxed) == 2 * turn + mine);
                turns.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    threads.into_iter().for_each(JoinHandle::join);
    assert_eq!(turns.load(Ordering::Relaxed), 8);
}

#[test_case]
fn a_pin_keeps_others_off_the_cpu() {
    let ran = flag();
    let pin = Pin::new();
    let other = {
        let ran = Arc::clone(&ran);
        // The vmalloc library flushes other CPUs with interrupts on: it may be called pinned.
        Builder::new("test")
            .on_cpu(pin.cpu())
            .class(Class::RealTime)
            .spawn(move || ran.store(true, Ordering::Relaxed))
    };
    tsc::spin_until(20_000, || false);
    assert!(!ran.load(Ordering::Relaxed));
    drop(pin);
    assert!(ran.load(Ordering::Relaxed), "the switch was put off, not forgotten");
    other.expect("memory enough").join();
}

#[test_case]
fn real_time_threads_run_before_normal_ones_in_their_order() {
    let order = Arc::new(SpinLock::new(lock_class!("test order"), Vec::with_capacity(8)));
    let real_time = Builder::new("test").class(Class::RealTime).on_cpu(0);
    let push = |number: u32| {
        let order = Arc::clone(&order);
        move || order.lock().push(number)
    };
    let (normal, first, second, last) = (push(3), push(1), push(2), push(4));
    let all = real_time.spawn(move || {
        // None of these can run before this one waits.
        let normal = on_cpu(0, normal);
        let others = [first, second].map(|body| real_time.spawn(body).expect("memory enough"));
        tsc::spin_until(30_000, || false);
        last();
        (normal, others)
    });
    let (normal, others) = all.expect("memory enough").join();
    others.into_iter().for_each(JoinHandle::join);
    normal.join();
    assert_eq!(*order.lock(), [4, 1, 2, 3]);
}

#[test_case]
fn yielding_takes_turns() {
    let order = Arc::new(SpinLock::new(lock_class!("test order"), Vec::with_capacity(8)));
    let gate = flag();
    let threads = [0, 1].map(|number| {
        let (order, gate) = (Arc::clone(&order), Arc::clone(&gate));
        Builder::new("test").class(Class::RealTime).on_cpu(0).spawn(move || {
            while !gate.load(Ordering::Relaxed) {
                threads::sleep(1000);
            }
            for _ in 0..3 {
                order.lock().push(number);
                threads::yield_now();
            }
        })
    });
    // Both wake at the same tick, if at all: neither is preempted by the other.
    gate.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.expect("memory enough").join());
    let order = order.lock();
    assert_eq!(order.iter().sum::<i32>(), 3);
    assert_eq!(order.len(), 6);
}

#[test_case]
fn sleepers_wake_in_order_and_not_before_their_time() {
    let order = Arc::new(SpinLock::new(lock_class!("test order"), Vec::with_capacity(8)));
    let threads = [60_000, 0, 30_000].map(|time| {
        let order = Arc::clone(&order);
        on_cpu(0, move || {
            let start = tsc::now();
            threads::sleep(time);
            assert!(tsc::now() - start >= tsc::cycles(time), "before its time");
            order.lock().push(tsc::now());
        })
    });
    threads.into_iter().for_each(JoinHandle::join);
    assert!(order.lock().is_sorted());
}

#[test_case]
fn park_waits_for_unpark_which_may_come_first() {
    threads::current().unpark();
    threads::park();
    let main = threads::current();
    assert_eq!(main.name(), "main");
    let thread = spawn(move || {
        for _ in 0..100 {
            main.unpark();
            threads::park();
        }
    });
    for _ in 0..100 {
        threads::park();
        thread.thread().unpark();
    }
    thread.join();
}

#[test_case]
fn wakes_go_from_every_cpu_to_every_other() {
    let count = cpu::online().count();
    let turn = Arc::new((AtomicUsize::new(0), WaitQueue::new()));
    let threads: Vec<_> = (0..count)
        .map(|cpu| {
            let turn = Arc::clone(&turn);
            on_cpu(cpu, move || {
                for round in 0..50 {
                    turn.1.wait_until(|| turn.0.load(Ordering::Relaxed) == round * count + cpu);
                    assert_eq!(Pin::new().cpu(), cpu);
                    turn.0.fetch_add(1, Ordering::Relaxed);
                    turn.1.wake_all();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(JoinHandle::join);
    assert_eq!(turn.0.load(Ordering::Relaxed), 50 * count);
}

/// What lives on a thread's stack and in its registers survives every way of being switched.
#[test_case]
fn threads_wander_and_stay_whole() {
    let threads: Vec<_> = (0..16_u64)
        .map(|number| {
            spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                let mut mirror = random.clone();
                let mut drawn = [0; 64];
                for _ in 0..60 {
                    drawn.fill_with(|| random.u64(..));
                    match drawn[0] % 4 {
                        0 => threads::yield_now(),
                        1 => threads::sleep(drawn[1] % 3000),
                        2 => drop(tsc::spin_until(drawn[1] % 3000, || false)),
                        _ => spawn(|| ()).join(),
                    }
                    assert!(drawn.iter().all(|&value| value == mirror.u64(..)));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(JoinHandle::join);
}

/// As many threads as CPUs, none of which ends before all run at once.
#[test_case]
fn all_cpus_get_busy() {
    let count = cpu::online().without(cpu::isolated()).count();
    let running = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let running = Arc::clone(&running);
            spawn(move || {
                let _pin = Pin::new();
                running.fetch_add(1, Ordering::Relaxed);
                spin_until(|| running.load(Ordering::Relaxed) == count);
            })
        })
        .collect();
    threads.into_iter().for_each(JoinHandle::join);
}

#[test_case]
fn a_grace_period_waits_for_readers() {
    let count = cpu::online().count();
    if count == 1 {
        // No reader is left when a thread can call it.
        grace::synchronize();
        return;
    }
    let (reading, stop, over) = (flag(), flag(), flag());
    let reader = {
        let (reading, stop, over) = (Arc::clone(&reading), Arc::clone(&stop), Arc::clone(&over));
        on_cpu(count - 1, move || {
            let _pin = Pin::new();
            reading.store(true, Ordering::Relaxed);
            spin_until(|| stop.load(Ordering::Relaxed));
            assert!(!over.load(Ordering::Relaxed), "the grace period ended before this reader");
        })
    };
    while !reading.load(Ordering::Relaxed) {
        threads::yield_now();
    }
    let writer = {
        let over = Arc::clone(&over);
        on_cpu(0, move || {
            grace::synchronize();
            over.store(true, Ordering::Relaxed);
        })
    };
    threads::sleep(30_000);
    assert!(!over.load(Ordering::Relaxed));
    stop.store(true, Ordering::Relaxed);
    writer.join();
    reader.join();
}

#[test_case]
fn deferred_calls_come_in_order_after_a_grace_period() {
    let order = Arc::new(SpinLock::new(lock_class!("test order"), Vec::with_capacity(16)));
    {
        let _reading = Pin::new();
        for number in 0..10 {
            let order = Arc::clone(&order);
            deferred::defer_closure(move || order.lock().push(number));
        }
        tsc::spin_until(10_000, || false);
        assert!(order.lock().is_empty(), "a reader is left");
    }
    deferred::barrier();
    assert!(order.lock().iter().copied().eq(0..10));
}

/// In debug builds, which tests are.
#[test_case]
fn a_lock_order_inversion_is_reported_once() {
    static A: SpinLock<()> = SpinLock::new(lock_class!("test A"), ());
    static B: SpinLock<()> = SpinLock::new(lock_class!("test B"), ());
    let take = |first: &SpinLock<()>, second: &SpinLock<()>| {
        let _first = first.lock();
        drop(second.lock());
    };
    assert_eq!(order::reports(), 0);
    take(&A, &B);
    take(&A, &B);
    assert_eq!(order::reports(), 0);
    take(&B, &A);
    take(&B, &A);
    take(&A, &B);
    assert_eq!(order::take_reports(), usize::from(order::CHECKED));
}

#[test_case]
fn each_stack_has_its_guard_page() {
    let stack = spawn(|| {
        let stack = cpu::stack();
        assert!(kernel::arch::paging::lookup(stack.start as u64 - 1).is_none());
        assert!(kernel::arch::paging::lookup(stack.end as u64).is_none());
        stack.len()
    });
    assert_eq!(stack.join(), threads::STACK);
}
