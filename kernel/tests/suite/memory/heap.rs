//! The heap: on memory from vmalloc, growing on demand.

use alloc::{alloc::dealloc, boxed::Box, vec, vec::Vec};
use core::{
    alloc::Layout,
    sync::atomic::{AtomicBool, Ordering},
};
use kernel::{
    arch::{cpu, interrupts, layout},
    lock_class,
    memory::{self, frames, heap},
    services::deferred,
    sync::IrqLock,
    threads::{self, SpawnError},
};

#[test_case]
fn boxes_lie_in_the_vmalloc_range_and_come_back() {
    let used = heap::usage().used;
    let value = Box::new([7_u64; 40]);
    assert!(layout::VMALLOC.contains(&(core::ptr::from_ref(&*value) as usize)));
    assert!(heap::usage().used >= used + 320);
    assert!(value.iter().all(|&word| word == 7));
    drop(value);
    assert_eq!(heap::usage().used, used);
}

#[test_case]
fn alignment_of_heap_memory_is_honoured() {
    #[repr(align(4096))]
    struct Page([u8; 100]);
    let pages: Vec<_> = (0..5).map(|byte| Box::new(Page([byte; 100]))).collect();
    for (index, page) in pages.iter().enumerate() {
        assert!((core::ptr::from_ref(&**page) as usize).is_multiple_of(4096));
        assert_eq!(page.0[99], index as u8);
    }
}

/// What lies in chunks grows the heap, and is given back. Seen failing, by a heap that stays as large, with no chunk given
/// back.
#[test_case]
fn the_heap_grows_and_shrinks() {
    heap::trim();
    let before = heap::usage();
    let objects: Vec<_> = (0..2000).map(|number| vec![number as u8; 1000]).collect();
    let grown = heap::usage();
    assert!(grown.chunks > before.chunks && grown.used >= before.used + 2_000_000);
    assert!(objects.iter().enumerate().all(|(number, bytes)| bytes.iter().all(|&byte| byte == number as u8)));
    drop(objects);
    heap::trim();
    assert_eq!(heap::usage(), before);
}

/// What is large is an area of its own, which grows without a copy of its bytes. Seen failing with zeros not asked for, and
/// with a growth that does not keep the bytes.
#[test_case]
fn large_objects_are_areas() {
    let before = heap::usage();
    for round in 0..3 {
        let mut bytes = vec![0_u8; 100_000];
        let area = memory::vmalloc().find_area(bytes.as_ptr() as usize).expect("an area");
        assert_eq!((area.start, area.requested), (bytes.as_ptr() as usize, 100_000));
        assert_eq!(heap::usage().areas(), before.areas() + 1);
        assert!(bytes.iter().all(|&byte| byte == 0), "round {round}");
        bytes.fill(7);
        bytes.reserve_exact(3 << 20);
        assert!(bytes.iter().all(|&byte| byte == 7));
        bytes.resize(3 << 20, 8);
        bytes.truncate(40_000);
        bytes.shrink_to_fit();
        assert!(bytes.iter().all(|&byte| byte == 7));
        let area = memory::vmalloc().find_area(bytes.as_ptr() as usize).expect("an area");
        assert_eq!((area.start, area.requested), (bytes.as_ptr() as usize, 40_000));
    }
    assert_eq!(heap::usage(), before);
}

static GIVEN: IrqLock<Option<(Box<u64>, Vec<u8>)>> = IrqLock::new(lock_class!("given"), None);

/// Seen failing, by bytes that stay, with what handlers free forgotten.
#[test_case]
fn interrupt_handlers_free() {
    let Some(other) = cpu::online().iter().find(|&cpu| cpu != 0) else { return };
    let used = heap::usage().used;
    *GIVEN.lock() = Some((Box::new(1), vec![1; 100_000]));
    interrupts::call_on(other, || {
        let given = GIVEN.lock().take();
        drop(given);
    });
    assert_eq!(heap::usage().used, used);
}

/// All CPUs at once.
#[test_case]
fn objects_of_several_cpus_do_not_mix() {
    let threads: Vec<_> = cpu::online()
        .iter()
        .map(|cpu| {
            let work = move || {
                let mut kept = Vec::new();
                for round in 0..600_usize {
                    let size = 1 + (round * 7919 + cpu * 104_729) % 40_000;
                    kept.push(vec![(round + cpu) as u8; size]);
                    if round % 3 == 2 {
                        let bytes = kept.swap_remove(round * 31 % kept.len());
                        assert!(bytes.iter().all(|&byte| byte == bytes[0]));
                    }
                }
                kept.iter().for_each(|bytes| assert!(bytes.iter().all(|&byte| byte == bytes[0])));
            };
            threads::Builder::new("heap").on_cpu(cpu).spawn(work).expect("memory enough")
        })
        .collect();
    threads.into_iter().for_each(threads::JoinHandle::join);
}

#[test_case]
fn impossible_heap_requests_fail_without_a_panic() {
    let mut huge: Vec<u8> = Vec::new();
    assert!(huge.try_reserve_exact(1 << 45).is_err());
    assert!(huge.try_reserve_exact(isize::MAX as usize).is_err());
}

/// Seen failing, by a panic, when such an object is not waited for.
#[test_case]
fn small_objects_are_waited_for_until_others_give_memory_back() {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    static GIVEN: AtomicBool = AtomicBool::new(false);
    const SIZE: usize = 30_000;
    heap::trim();
    memory::vmalloc().trim();
    frames::drain_magazines();
    let usage = heap::usage();
    // More than there is room for, in chunks and in what CPUs have of frames.
    let mut objects = Vec::with_capacity(100 + (usage.size - usage.used) / SIZE);
    let giver = threads::spawn("giver", || {
        let hoard = memory::Hoard::take(usize::MAX);
        let overflows = || memory::vmalloc().tally().overflows;
        let before = overflows();
        TAKEN.store(true, Ordering::Relaxed);
        while overflows() == before {
            threads::sleep(1000);
        }
        // What can be had without this was asked for.
        threads::sleep(100_000);
        GIVEN.store(true, Ordering::Relaxed);
        drop(hoard);
    });
    let giver = giver.expect("memory enough");
    while !TAKEN.load(Ordering::Relaxed) {
        threads::sleep(1000);
    }
    objects.resize_with(objects.capacity(), || vec![7_u8; SIZE]);
    assert!(GIVEN.load(Ordering::Relaxed), "there was memory");
    giver.join();
}

/// Seen failing when the closure waits as others do, fifty attempts in a second, each of which is refused some ten times.
#[test_case]
fn who_can_do_without_memory_does_not_wait_for_it() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    const LAYOUT: Layout = Layout::new::<[u8; 2000]>();
    const FEW: u64 = 100;
    let mut objects = Vec::with_capacity(2000 + heap::usage().size / LAYOUT.size());
    let hoard = memory::Hoard::take(usize::MAX);
    while let Some(object) = heap::alloc_now(LAYOUT) {
        assert!(objects.len() < objects.capacity(), "the heap has not so much");
        objects.push(object);
    }
    let before = memory::vmalloc().tally().overflows;
    assert!(!heap::make_room([LAYOUT.size()]));
    let captured = [0_u8; LAYOUT.size()];
    assert!(matches!(threads::spawn("none", move || captured), Err(SpawnError::OutOfMemory(_))));
    deferred::defer_closure(move || CALLED.store(captured[0] == 0, Ordering::Relaxed));
    assert!(CALLED.load(Ordering::Relaxed), "there was memory");
    assert!(memory::vmalloc().tally().overflows - before < FEW);
    // Room for one is none for two.
    let last = objects.pop().expect("there was room for some");
    // SAFETY: it was allocated above, and nobody uses it.
    unsafe { dealloc(last.as_ptr(), LAYOUT) };
    assert!(heap::make_room([LAYOUT.size()]));
    assert!(!heap::make_room([LAYOUT.size(); 2]));
    drop(hoard);
    for object in objects {
        // SAFETY: it was allocated above, and nobody uses it.
        unsafe { dealloc(object.as_ptr(), LAYOUT) };
    }
}
