//! The simulated machine finds what it is there to find: here page tables are changed by hand, and nothing is flushed.

extern crate std;

use super::{
    machine::{ACCESSED, DIRTY, HUGE, Machine, NO_EXECUTE, PRESENT, PageFault, WRITABLE},
    support::{START, address, flushing, free},
};
use crate::{BLOCK_SIZE, Flusher, Frame, PAGE_SHIFT, PAGE_SIZE, Platform, Scope};
use core::{
    slice,
    sync::atomic::{AtomicBool, Ordering},
};
use std::{
    format,
    panic::{AssertUnwindSafe, catch_unwind},
    string::String,
    thread,
};

const WRITE_THROUGH: u64 = 1 << 3;
const ENTRY: u64 = PRESENT | WRITABLE | ACCESSED | DIRTY | NO_EXECUTE;
const GIB: usize = 1 << 30;

/// A machine that has a page of zeros mapped, which CPU 1 knows.
fn machine() -> Machine {
    let machine = Machine::new(2, 100);
    assert!(machine.map_missing(START));
    machine.entry(START, 0).fetch_or(NO_EXECUTE, Ordering::Relaxed);
    machine.write(1, START, 7).expect("mapped");
    machine.check();
    machine
}

fn take(machine: &Machine) -> Frame {
    let mut frame = None;
    { machine }.take_frames(1, |taken| frame = Some(taken));
    frame.expect("frames enough")
}

/// What the machine says against `act`.
#[track_caller]
fn complaint(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("nothing was said against it");
    *panic.downcast::<String>().expect("a text")
}

#[test]
fn a_translation_that_allows_other_than_the_tables_is_found() {
    let machine = machine();
    let entry = machine.entry(START, 0);
    let good = entry.load(Ordering::Relaxed);
    let other = take(&machine).address() | ENTRY;
    for wrong in [other, good & !WRITABLE, good ^ WRITE_THROUGH, good & !DIRTY] {
        entry.store(wrong, Ordering::Relaxed);
        assert!(complaint(|| machine.check()).contains("flush missing"), "{wrong:x}");
    }
    // What allows more now does no harm.
    entry.store(good & !NO_EXECUTE, Ordering::Relaxed);
    machine.check();
    machine.observe();
    // The CPU may execute it since.
    entry.store(good, Ordering::Relaxed);
    assert!(complaint(|| machine.check()).contains("flush missing"));
    // It is mapped no more, and its frame is still used.
    entry.store(0, Ordering::Relaxed);
    machine.check();
    // A CPU that is asleep uses no page.
    entry.store(other, Ordering::Relaxed);
    machine.sleep(1);
    machine.check();
}

#[test]
fn two_translations_that_a_cpu_must_not_have_at_once_are_found() {
    for (change, is_wrong) in [(DIRTY, false), (NO_EXECUTE, false), (WRITABLE, false), (WRITE_THROUGH, true)]
    {
        let machine = machine();
        machine.entry(START, 0).fetch_xor(change, Ordering::Relaxed);
        match is_wrong {
            true => assert!(complaint(|| machine.observe()).contains("at once"), "{change:x}"),
            false => machine.observe(),
        }
    }
    let machine = machine();
    let other = take(&machine).address() | ENTRY;
    machine.entry(START, 0).store(other, Ordering::Relaxed);
    assert!(complaint(|| machine.observe()).contains("at once"), "of two frames");
    machine.sleep(1);
    machine.observe();
}

/// Of two sizes, only with the same rights.
#[test]
fn translations_of_two_sizes_are_of_the_same_rights() {
    for (change, is_wrong) in [(0, false), (DIRTY, false), (WRITABLE, true), (NO_EXECUTE, true)] {
        let machine = Machine::new(1, 1500);
        let huge = (&machine).take_huge_frame().expect("frames enough");
        machine.map_missing(START);
        machine.entry(START, 0).store(huge.address() | ENTRY, Ordering::Relaxed);
        machine.touch(START).expect("mapped");
        machine.entry(START, 1).store((huge.address() | ENTRY | HUGE) ^ change, Ordering::Relaxed);
        match is_wrong {
            true => assert!(complaint(|| machine.observe()).contains("at once"), "{change:x}"),
            false => machine.observe(),
        }
    }
}

/// Clears the entries that lead to `START`; the frames that they led to: the page, its table, and the directory above.
fn unlink(machine: &Machine) -> [Frame; 3] {
    let unlink = |level| machine.entry(START, level).swap(0, Ordering::Relaxed);
    [0, 1, 2].map(unlink).map(|entry| Frame::new(entry >> PAGE_SHIFT & 0xff_ffff))
}

#[test]
fn a_frame_that_a_cpu_reaches_is_not_given_back() {
    let machine = machine();
    let [page, table, directory] = unlink(&machine);
    for frame in [page, table, directory] {
        assert!(complaint(|| machine.give_back(frame)).contains("can reach it"), "{frame:?}");
    }
    // A CPU that is asleep uses no page, but walks.
    machine.sleep(1);
    machine.give_back(page);
    assert!(complaint(|| machine.give_back(page)).contains("twice"));
    for frame in [table, directory] {
        assert!(complaint(|| machine.give_back(frame)).contains("can reach it"), "{frame:?}");
    }
    // A CPU that is offline does nothing.
    machine.run_on(1);
    // SAFETY: it uses nothing.
    unsafe { (&machine).shootdown().set_offline(&&machine) };
    machine.run_on(0);
    for frame in [table, directory] {
        machine.give_back(frame);
    }
    let outside =
        [machine.ram().start - 1, machine.ram().end].map(|address| Frame::new(address >> PAGE_SHIFT));
    for frame in [outside[0], outside[1], (&machine).root()] {
        assert!(complaint(|| machine.give_back(frame)).contains("no frame"), "{frame:?}");
    }
}

/// By INVLPG a CPU forgets all ways through tables; by a broadcast of a page, those to it.
#[test]
fn a_flush_of_a_page_takes_ways_with_it() {
    let (start, beside) = (START..START + PAGE_SIZE, START + BLOCK_SIZE..START + BLOCK_SIZE + PAGE_SIZE);
    // Whether it is a broadcast, of what, and whether the page at `START`, its table and its directory are reached after it.
    for (is_broadcast, flushed, is_reached) in [
        (false, &beside, [true, false, false]),
        (false, &start, [false, false, false]),
        (true, &start, [false, false, false]),
        (true, &beside, [true, true, false]),
    ] {
        let machine = Machine::broadcasting(1, 100);
        for page in [&start, &beside] {
            machine.map_missing(page.start);
            machine.touch(page.start).expect("mapped");
        }
        match is_broadcast {
            true => (&&machine).broadcast(Scope::Pages(slice::from_ref(flushed))),
            false => (&&machine).flush_page(flushed.start),
        }
        for (frame, is_reached) in unlink(&machine).into_iter().zip(is_reached) {
            match is_reached {
                true => assert!(complaint(|| machine.give_back(frame)).contains("can reach it")),
                false => machine.give_back(frame),
            }
        }
    }
}

/// Its frame was given back while it was asleep, and nobody told it to flush.
#[test]
fn a_cpu_that_wakes_with_a_translation_to_a_free_frame_is_found() {
    let machine = machine();
    let page = Frame::new(machine.entry(START, 0).swap(0, Ordering::Relaxed) >> PAGE_SHIFT & 0xff_ffff);
    machine.sleep(1);
    machine.give_back(page);
    machine.check();
    machine.wake(1);
    assert!(complaint(|| machine.check()).contains("reaches free frame"));
}

/// A CPU goes by the tables that it knows, even if others are linked since.
#[test]
fn a_cpu_goes_on_using_the_ways_that_it_knows() {
    let (page, beside) = (START + PAGE_SIZE, START + BLOCK_SIZE);
    // Above the page's block, and above its GiB; then what CPU 1 knows nothing of.
    for (level, unknown) in [(1, beside), (2, START + GIB)] {
        let machine = machine();
        let known = if level == 1 { page } else { beside };
        for address in [known, unknown] {
            machine.map_missing(address);
            machine.write(0, address, 1).expect("mapped");
        }
        // The same tables, but for the part that holds them all.
        let old = machine.entry(START, level).swap(0, Ordering::Relaxed);
        assert_eq!(machine.read(1, known), Ok(1), "by the way that it knows");
        machine.entry(START, level).store(old, Ordering::Relaxed);
        machine.entry(unknown, level).store(0, Ordering::Relaxed);
        assert_eq!(machine.read(1, unknown), Err(PageFault), "it knows none");
    }
}

#[test]
fn a_table_that_took_the_place_of_one_that_a_cpu_knows_is_found() {
    let machine = machine();
    machine.map_missing(START + BLOCK_SIZE);
    let other = machine.entry(START + BLOCK_SIZE, 1).load(Ordering::Relaxed);
    machine.entry(START, 1).store(other, Ordering::Relaxed);
    // The pages of both lead elsewhere; the CPU has forgotten its own.
    machine.run_on(1);
    (&&machine).flush_page(START);
    machine.run_on(0);
    machine.entry(START, 1).store(0, Ordering::Relaxed);
    machine.map_missing(START);
    machine.touch(START).expect("mapped");
    let page = machine.entry(START, 0).load(Ordering::Relaxed);
    machine.entry(START, 1).store(other, Ordering::Relaxed);
    machine.entry(START, 0).store(page, Ordering::Relaxed);
    assert!(complaint(|| machine.check()).contains("remembers the table"));
}

/// It was given back while it was linked.
#[test]
fn a_way_through_a_free_table_is_found() {
    let machine = machine();
    machine.map_missing(START + BLOCK_SIZE);
    let way = machine.entry(START + BLOCK_SIZE, 1);
    machine.give_back(Frame::new(way.load(Ordering::Relaxed) >> PAGE_SHIFT & 0xff_ffff));
    machine.touch(START + BLOCK_SIZE).expect("what is filled in maps something");
    way.store(0, Ordering::Relaxed);
    assert!(complaint(|| machine.check()).contains("reaches free table"));
}

#[test]
fn a_cpu_marks_what_it_uses_and_does_not_look_again() {
    let machine = machine();
    let page = START + PAGE_SIZE;
    machine.map_missing(page);
    let entry = machine.entry(page, 0);
    let has = |bits| entry.load(Ordering::Relaxed) & bits == bits;
    entry.fetch_and(!(ACCESSED | DIRTY), Ordering::Relaxed);
    machine.read(0, page).expect("mapped");
    assert!(has(ACCESSED) && !has(DIRTY));
    // It knows the entry as it was.
    entry.fetch_and(!ACCESSED, Ordering::Relaxed);
    machine.read(0, page).expect("mapped");
    assert!(!has(ACCESSED));
    machine.write(0, page, 1).expect("writable");
    assert!(has(ACCESSED | DIRTY));
    entry.fetch_and(!DIRTY, Ordering::Relaxed);
    machine.write(0, page, 1).expect("writable");
    assert!(!has(DIRTY), "it has marked it");
    // CPU 1 has to mark it, and finds another entry, by which it may not write.
    machine.read(1, page).expect("mapped");
    let good = entry.load(Ordering::Relaxed);
    for (wrong, was) in [(good & !WRITABLE, "read-only"), (good & !PRESENT, "not there"), (0, "nothing")] {
        entry.store(wrong, Ordering::Relaxed);
        assert_eq!(machine.write(1, page, 2), Err(PageFault), "{was}");
        assert_eq!(entry.load(Ordering::Relaxed), wrong, "{was}");
    }
    assert_eq!(machine.read(1, page), Ok(1), "nothing was written");
}

/// What a walk found dirty once, the CPU writes by without a mark.
#[test]
fn a_translation_that_was_found_dirty_stays_so() {
    for is_known in [false, true] {
        let (machine, page) = (machine(), START + PAGE_SIZE * usize::from(!is_known));
        let mark = |machine: &Machine| machine.entry(page, 0).fetch_xor(DIRTY, Ordering::Relaxed);
        if machine.map_missing(page) {
            mark(&machine);
            machine.read(1, page).expect("mapped");
            mark(&machine);
        }
        machine.observe();
        machine.check();
        mark(&machine);
        assert!(complaint(|| machine.check()).contains("flush missing"), "{is_known}");
    }
}

#[test]
fn bytes_are_read_and_written_across_pages() {
    let machine = machine();
    machine.map_missing(START + PAGE_SIZE);
    let bytes: std::vec::Vec<u8> = (0..5000).map(|at| (at % 251) as u8).collect();
    for (at, length) in
        [(0, 5000), (1, 1), (PAGE_SIZE - 1, 2), (PAGE_SIZE, 100), (3000, 4000), (8000, 192), (8192, 0)]
    {
        machine.write_bytes(START + at, &bytes[..length]).expect("mapped");
        let mut read = std::vec![1; length];
        machine.read_bytes(START + at, &mut read).expect("mapped");
        assert_eq!(read, bytes[..length], "{length} at {at}");
        // Each part is where it belongs.
        for byte in (0..length).step_by(97) {
            let address = START + at + byte;
            let word = machine.read(0, address & !7).expect("mapped").to_le_bytes();
            assert_eq!(word[address % 8], bytes[byte], "{byte} of {length} at {at}");
        }
    }
    // The last address of all: what is behind it is nowhere.
    assert!(machine.map_missing(usize::MAX));
    for (address, length) in
        [(START + 8000, 193), (START - 1, 2), (START + 2 * PAGE_SIZE, 1), (usize::MAX, 2)]
    {
        assert_eq!(machine.read_bytes(address, &mut std::vec![0; length]), Err(PageFault), "{length}");
        assert_eq!(machine.write_bytes(address, &bytes[..length]), Err(PageFault), "{length}");
    }
    machine.entry(START, 0).fetch_and(!WRITABLE, Ordering::Relaxed);
    machine.run_on(0);
    (&&machine).flush_all();
    assert_eq!(machine.write_bytes(START + 1, &[1]), Err(PageFault));
    assert_eq!((machine.touch(START), machine.touch(START - 1)), (Ok(()), Err(PageFault)));
}

#[test]
fn frames_are_where_the_machine_says_and_none_is_missed() {
    for (machine, first) in [(Machine::new(1, 10), 0x100_0000), (Machine::from_frame_zero(1, 10), 0)] {
        assert_eq!(machine.ram(), first..first + 11 * PAGE_SIZE as u64);
        machine.assert_all_frames_back();
        let frame = take(&machine);
        assert!(machine.ram().contains(&frame.address()));
        let said = catch_unwind(AssertUnwindSafe(|| machine.assert_all_frames_back())).is_err();
        assert!(said, "one is missing");
        machine.give_back(frame);
        // Tables that are linked are none that are missing.
        machine.map_missing(START);
        let page = machine.entry(START, 0).swap(0, Ordering::Relaxed);
        machine.give_back(Frame::new(page >> PAGE_SHIFT));
        machine.assert_all_frames_back();
    }
    let machine = Machine::new(1, 2);
    assert_eq!(format!("{machine:?}"), "Machine { cpus: 1, frames: 2, .. }");
    let pin = format!("{:?}", (&&machine).pin());
    assert!(pin.contains("cpu: 0"), "{pin}");
}

#[test]
fn a_grace_period_waits_for_readers() {
    let machine = &Machine::new(2, 10);
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _reading = machine.pin();
            begun.store(true, Ordering::Release);
            thread::sleep(core::time::Duration::from_millis(50));
            done.store(true, Ordering::Release);
        });
        while !begun.load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert!(machine.synchronize() && done.load(Ordering::Acquire));
    });
}

/// It would wait for itself.
#[test]
#[should_panic = "who waits for readers is one"]
fn a_reader_does_not_wait_for_readers() {
    let machine = &Machine::new(1, 10);
    let _reading = machine.pin();
    machine.synchronize();
}

/// A thread that plays a CPU takes the interrupts of a flush when it calls the machine.
#[test]
fn a_cpu_that_a_thread_plays_flushes_by_itself() {
    let machine = &Machine::new(2, 500);
    let vmalloc = flushing(machine, 2);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    let start = address(area);
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            machine.play(1, || {
                machine.read(1, start).expect("mapped");
                begun.store(true, Ordering::Release);
                while !done.load(Ordering::Acquire) {
                    machine.relax();
                }
                assert_eq!(machine.read(1, start), Err(PageFault), "it was flushed");
            });
        });
        machine.play(0, || {
            while !begun.load(Ordering::Acquire) {
                machine.relax();
            }
            free(&vmalloc, area).expect("allocated");
            vmalloc.purge();
            done.store(true, Ordering::Release);
        });
    });
    assert_eq!(machine.interrupts(), 1);
}
