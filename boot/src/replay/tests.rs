//! Whole traces, right ones and wrong ones: whatever is in a file, what is written is a program that can be run, or one line
//! says where the file is wrong.

use std::fs;
use std::path::Path;

use protocol::replay::{Action, Call, Header};

use super::program;
use super::translate::Translator;
use crate::bench::experiments::replayed::Skipped;
use crate::lines::source::Source;
use crate::places;
use crate::scratch::Scratch;
use crate::status::Result;

/// A trace that was recorded on a Linux.
const RECORDED: &str = "bench/traces/linux-7.2.13-mixed.trace.xz";

fn folder() -> Scratch {
    Scratch::within(&places::target_folder("runs").unwrap()).unwrap()
}

/// Reads lines as a trace, and the program that they make.
fn translate(lines: impl Into<Vec<u8>>, folder: &Scratch) -> Result<(Translator, Vec<Call>)> {
    write(&mut Source::of("t", lines.into()), &folder.path().join("program"))
}

fn write(source: &mut Source, to: &Path) -> Result<(Translator, Vec<Call>)> {
    let translator = program::write(source, to)?;
    let bytes = fs::read(to).unwrap();
    let (header, calls) = bytes.split_first_chunk::<{ Header::SIZE }>().unwrap();
    let header = Header::from_bytes(header).unwrap();
    assert_eq!(header, translator.header());
    let calls = calls.as_chunks::<{ Call::SIZE }>().0.iter();
    let calls: Vec<_> = calls.map(|call| Call::from_bytes(call, &header).unwrap()).collect();
    check(header, &calls);
    Ok((translator, calls))
}

/// A program by the rules: each slot is filled before it is emptied, by a call of the same family; time does not go back.
fn check(header: Header, calls: &[Call]) {
    let mut slots = vec![None; header.slots as usize];
    let mut time = 0;
    assert_eq!(header.calls, calls.len() as u64);
    for call in calls {
        let slot = call.slot as usize;
        match call.action {
            Action::Vmalloc { .. } => assert_eq!(slots[slot].replace(Action::Vfree), None),
            Action::Vmap { .. } => assert_eq!(slots[slot].replace(Action::Vunmap), None),
            Action::VmMapRam { .. } => assert_eq!(slots[slot].replace(Action::VmUnmapRam), None),
            Action::VmUnmapAliases => {}
            free => assert_eq!(slots[slot].take(), Some(free)),
        }
        assert!(call.time >= time);
        time = call.time;
    }
}

fn actions(calls: &[Call]) -> Vec<(Action, u32)> {
    calls.iter().map(|call| (call.action, call.slot)).collect()
}

/// The recorded trace, as text.
fn recorded() -> Vec<u8> {
    let mut source = Source::open(&places::root().join(RECORDED)).unwrap();
    let mut text = Vec::new();
    while let Some(line) = source.next_line().unwrap() {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text
}

#[test]
fn calls_and_returns_pair_by_task_whichever_cpu_they_are_on() {
    let text = "a-1 [000] ..... 1.000000: valloc: (f) size=5000 align=8192
                b-2 [001] ..... 1.000001: valloc: (f) size=1 align=1
                b-2 [001] ..... 1.000002: valloc_ret: (f) addr=0x2000
                a-1 [001] ..... 1.000003: valloc_ret: (f) addr=0x1000
                <idle>-0 [000] ..... 1.000004: vm_map_ram: (f) count=3
                <idle>-0 [001] ..... 1.000005: vm_map_ram: (f) count=4
                <idle>-0 [000] ..... 1.000006: vm_map_ram_ret: (f) addr=0x1000
                <idle>-0 [001] ..... 1.000007: vm_map_ram_ret: (f) addr=0x5000
                a-1 [000] ..... 1.000008: vfree: (f) addr=0x1000
                a-1 [000] ..... 1.000009: vm_unmap_ram: (f) addr=0x1000 count=3
                a-1 [000] ..... 1.000010: vfree: (f) addr=0x0
                a-1 [000] ..... 1.000011: vfree: (f) addr=0x9000\n";
    let (translator, calls) = translate(text, &folder()).unwrap();
    assert_eq!(
        actions(&calls),
        [
            (Action::Vmalloc { size: 1, align: 0 }, 0),
            (Action::Vmalloc { size: 5000, align: 13 }, 1),
            (Action::VmMapRam { pages: 3 }, 2),
            (Action::VmMapRam { pages: 4 }, 3),
            (Action::Vfree, 1),
            (Action::VmUnmapRam, 2),
        ]
    );
    assert_eq!(calls[1].cpu, 0, "the call's, not the return's");
    assert_eq!(translator.skipped, Skipped { unknown: 1, ..Skipped::default() });
    assert_eq!((translator.header().frames, translator.header().cpus), (4, 2));
}

#[test]
fn linuxs_own_events_alone_give_areas_without_their_guard_pages() {
    let text =
        "a-1 [000] 1.0: alloc_vmap_area: va_start: 4096 size=20480 align=16384 vstart=0x0 vend=0x1 failed=0
                a-1 [000] 1.1: alloc_vmap_area: va_start: 0 size=8192 align=1 vstart=0x0 vend=0x1 failed=1
                a-1 [000] 1.2: free_vmap_area_noflush: va_start=0x1000 nr_lazy=5 nr_lazy_max=9
                a-1 [000] 1.3: purge_vmap_area_lazy: start=0x1000 end=0x6000 num_purged=1\n";
    let (translator, calls) = translate(text, &folder()).unwrap();
    let area = Action::Vmalloc { size: 16384, align: 14 };
    let refused = Action::Vmalloc { size: 4096, align: 0 };
    assert_eq!(actions(&calls), [(area, 0), (refused, 1), (Action::Vfree, 1), (Action::Vfree, 0)]);
    let (linux, space) = (&translator.linux, translator.linux.space.unwrap());
    assert_eq!((linux.failed, linux.made.vmalloc), (1, 0));
    assert_eq!((space.areas, space.peak, space.lazy_peak, space.purges, space.purged), (1, 5, 5, 1, 1));
}

#[test]
fn what_a_call_shows_is_not_taken_from_linuxs_own_events_again() {
    let text = "a-1 [000] 1.0: vmap: (f) count=2
                a-1 [000] 1.1: alloc_vmap_area: va_start: 4096 size=12288 align=1 vstart=0x0 vend=0x1 failed=0
                a-1 [000] 1.2: vmap_ret: (f) addr=0x1000
                a-1 [000] 1.3: vunmap: (f) addr=0x1000
                k-2 [000] 1.4: free_vmap_area_noflush: va_start=0x1000 nr_lazy=3 nr_lazy_max=9\n";
    let (_, calls) = translate(text, &folder()).unwrap();
    assert_eq!(actions(&calls), [(Action::Vmap { pages: 2 }, 0), (Action::Vunmap, 0)]);
}

#[test]
fn after_lost_events_halves_of_calls_and_unseen_frees_are_counted() {
    let text = "a-1 [000] 1.0: valloc: (f) size=1 align=1
                CPU:0 [LOST 12 EVENTS]
                a-1 [000] 1.1: valloc_ret: (f) addr=0x1000
                a-1 [000] 1.2: valloc: (f) size=1 align=1
                a-1 [000] 1.3: valloc_ret: (f) addr=0x1000
                a-1 [000] 1.4: valloc: (f) size=1 align=1
                a-1 [000] 1.5: valloc_ret: (f) addr=0x1000\n";
    let (translator, calls) = translate(text, &folder()).unwrap();
    let area = Action::Vmalloc { size: 1, align: 0 };
    assert_eq!(actions(&calls), [(area, 0), (Action::Vfree, 0), (area, 0)]);
    assert_eq!(translator.skipped, Skipped { unpaired: 2, unseen: 1, lost: 12, ..Skipped::default() });
}

#[test]
fn the_recorded_trace_gives_the_calls_that_are_in_it() {
    let (translator, calls) =
        write(&mut Source::open(&places::root().join(RECORDED)).unwrap(), &folder().path().join("p"))
            .unwrap();
    let of = |wanted: fn(&Action) -> bool| calls.iter().filter(|call| wanted(&call.action)).count();
    assert_eq!(of(|action| matches!(action, Action::Vmalloc { .. })), 1184);
    assert_eq!(of(|action| matches!(action, Action::VmMapRam { .. })), 984);
    assert_eq!(of(|action| *action == Action::VmUnmapAliases), 929);
    assert_eq!(calls.len(), 5290);
    assert_eq!(translator.skipped, Skipped { unknown: 2, ..Skipped::default() });
    let linux = &translator.linux;
    assert_eq!((linux.freed.vmalloc, linux.made.vmap, linux.freed.vmap), (1126, 43, 41));
}

#[test]
fn a_trace_that_is_cut_anywhere_is_replayed_or_refused_in_one_line() {
    let (text, folder) = (recorded(), folder());
    let start = text.len() / 2;
    for end in start..start + 600 {
        match translate(&text[..end], &folder) {
            Ok(_) => assert_eq!(text[end - 1], b'\n'),
            Err(error) => assert!(error.message.ends_with("the file is cut within this line"), "{error}"),
        }
    }
}

#[test]
fn a_compressed_trace_that_is_cut_anywhere_is_refused_in_one_line() {
    let bytes = fs::read(places::root().join(RECORDED)).unwrap();
    let folder = folder();
    let (cut, to) = (folder.path().join("cut.xz"), folder.path().join("program"));
    for end in (1..bytes.len()).step_by(bytes.len() / 20) {
        fs::write(&cut, &bytes[..end]).unwrap();
        let error = Source::open(&cut).and_then(|mut source| program::write(&mut source, &to)).unwrap_err();
        assert_eq!(error.message.lines().count(), 1, "{error}");
        assert!(error.message.contains("cut.xz: "), "{error}");
    }
}

#[test]
fn a_compressed_trace_that_is_cut_is_told_from_one_that_is_spoilt() {
    let mut bytes = fs::read(places::root().join(RECORDED)).unwrap();
    let folder = folder();
    let file = folder.path().join("t.xz");
    let end = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let mut source = Source::open(&file).unwrap();
        loop {
            match source.next_line() {
                Ok(line) => assert!(line.is_some(), "it has no end"),
                Err(error) => return error.message,
            }
        }
    };
    assert!(end(&bytes[..bytes.len() / 2]).ends_with(": the file is cut behind this line"));
    // A checksum of the header.
    bytes[8] ^= 1;
    assert!(end(&bytes).contains(": line 0: cannot go on behind this line: "));
}

#[test]
fn no_bytes_make_anything_but_a_program_or_a_line() {
    let text = recorded();
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let (mut random, folder) = (fastrand::Rng::with_seed(7), folder());
    let mut refused = 0;
    for _ in 0..300 {
        let first = random.usize(..lines.len() - 60);
        let mut some: Vec<Vec<u8>> = lines[first..first + 60].iter().map(|line| line.to_vec()).collect();
        for _ in 0..random.usize(..4) {
            let line = random.usize(..some.len());
            match random.u8(..5) {
                0 => drop(some.remove(line)),
                1 => some.insert(line, some[line].clone()),
                2 => some.swap(line, 0),
                3 => {
                    let at = random.usize(..some[line].len());
                    some[line][at] = random.u8(..);
                }
                _ => {
                    // Another number, perhaps the greatest.
                    let text = String::from_utf8_lossy(&some[line]).into_owned();
                    let number = if random.bool() { u64::MAX.to_string() } else { "0".into() };
                    some[line] = text.replacen(char::is_numeric, &number, random.usize(..9)).into_bytes();
                }
            }
        }
        match translate(some.concat(), &folder) {
            Ok(_) => {}
            Err(error) => {
                refused += 1;
                assert_eq!(error.message.lines().count(), 1, "{error}");
            }
        }
    }
    assert!((1..290).contains(&refused), "{refused} of 300 were refused");
}

#[test]
fn files_of_other_kinds_are_named() {
    let folder = folder();
    let told = |bytes: &[u8]| {
        let path = folder.path().join("f");
        fs::write(&path, bytes).unwrap();
        let result =
            Source::open(&path).and_then(|mut source| program::write(&mut source, &folder.path().join("p")));
        let message = result.unwrap_err().message;
        message.rsplit_once("/f: ").unwrap().1.to_owned()
    };
    assert_eq!(told(b""), "is empty");
    assert_eq!(told(b"# tracer: nop\n"), "has no events");
    assert_eq!(told(b"a-1 [0] 1.0: sched_switch: x\n"), "has no events of vmalloc from which to make calls");
    assert_eq!(told(b"[package]\nname = 1\n"), "line 1: is no line of a trace");
    assert!(told(b"\x17\x08\x44tracing6").contains("trace-cmd report"));
    assert!(told(&[b'x'; 1 << 17]).contains("is longer than"));
    assert!(told(b"a-1 [0] 1.0: vfree: (f)\n").starts_with("line 1: vfree without a number for addr"));
}

/// Seen failing with a CPU that is one too high.
#[test]
fn numbers_at_their_ends_make_a_program_all_the_same() {
    let text = "a-1 [65535] 1.0: valloc: (f) size=1 align=18446744073709551615
                a-1 [65535] 1.1: valloc_ret: (f) addr=0x1000
                a-2 [65535] 1.2: valloc: (f) size=1 align=0
                a-2 [65535] 1.1: valloc_ret: (f) addr=0x2000
                CPU:1 [LOST 3 EVENTS]
                CPU:1 [LOST 4 EVENTS]
                a-1 [1] 1.3: sched_switch: x
                a-1 [1] 1.3: sched_switch: x\n";
    let (translator, calls) = translate(text, &folder()).unwrap();
    let area = |align| Action::Vmalloc { size: 1, align };
    assert_eq!(actions(&calls), [(area(62), 0), (area(0), 1)]);
    assert_eq!(calls[0].cpu, 65534, "the last one that a program can have");
    assert_eq!((calls[1].time, translator.time()), (200_000_000, 300_000_000));
    assert_eq!(translator.skipped, Skipped { lost: 7, other: 2, ..Skipped::default() });
}

#[test]
fn lost_events_of_a_cpu_make_halves_of_its_own_calls_alone() {
    let text = "a-1 [000] 1.0: valloc: (f) size=1 align=1
                b-2 [001] 1.0: valloc: (f) size=2 align=1
                c-3 [000] 1.0: valloc: (f) size=3 align=1
                CPU:0 [LOST 1 EVENTS]
                d-4 [002] 1.0: valloc: (f) size=5 align=1
                d-4 [002] 1.0: valloc: (f) size=6 align=1
                b-2 [001] 1.1: valloc_ret: (f) addr=0x1000
                b-2 [001] 1.2: valloc: (f) size=4 align=1
                b-2 [001] 1.3: vmap_ret: (f) addr=0x9000\n";
    let (translator, calls) = translate(text, &folder()).unwrap();
    assert_eq!(actions(&calls), [(Action::Vmalloc { size: 2, align: 0 }, 0)]);
    // Two calls that were begun, one in whose place another began, and a return of another family.
    assert_eq!(translator.skipped, Skipped { unpaired: 4, lost: 1, ..Skipped::default() });
}

#[test]
fn a_line_of_no_trace_is_named_as_the_first_or_a_later_one() {
    let folder = folder();
    let told = |text: &str| translate(text, &folder).unwrap_err().message;
    assert_eq!(told("# tracer: nop\nhello\n"), "t: line 2: is no line of a trace");
    assert_eq!(
        told("a-1 [0] 1.0: vfree: addr=0x1\n\nhello\n"),
        "t: line 3: is no line of a trace, as those before are"
    );
    // As long as a line may be, and a byte longer.
    let line = |length: usize| format!("#{}\n", "x".repeat(length - 2));
    assert_eq!(told(&line(65536)), "t: has no events");
    assert_eq!(told(&line(65537)), "t: line 1: is longer than 65536 bytes: this is no trace");
}

#[test]
fn the_program_of_the_recorded_trace_is_written_to_the_file_that_is_named() {
    let folder = folder();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    super::write_program(&places::root().join(RECORDED), &one).unwrap();
    write(&mut Source::open(&places::root().join(RECORDED)).unwrap(), &other).unwrap();
    assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
}
