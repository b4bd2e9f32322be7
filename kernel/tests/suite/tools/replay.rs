//! Programs of calls are made as they say, and what is wrong in one is named.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use kernel::{
    command::CommandError,
    replay::{Parameters, replay},
};
use protocol::replay::{Action, Call, Header};

const ONCE: Parameters = Parameters { loops: 1, timed: false, samples: 0 };

/// A program of these calls, each with its slot; they are of both CPUs in turn.
fn program(calls: &[(Action, u32)]) -> Vec<u8> {
    let header = Header { calls: calls.len() as u64, slots: 3, frames: 40, cpus: 2 };
    let mut bytes = header.to_bytes().to_vec();
    for (number, &(action, slot)) in calls.iter().enumerate() {
        let call = Call { action, slot, cpu: number as u16 % 2, time: number as u64 * 100_000 };
        bytes.extend(call.to_bytes());
    }
    bytes
}

fn run(bytes: &[u8], parameters: Parameters) -> Result<String, CommandError> {
    replay(|| Ok(bytes), parameters).map(|counts| format!("{counts}"))
}

/// An area is freed on another CPU than it was made on. Seen failing with a turn that nobody waited for.
#[test_case]
fn calls_of_several_cpus_are_made_in_their_order() {
    let mut calls = Vec::new();
    for _ in 0..200 {
        calls.extend([
            (Action::Vmalloc { size: 5000, align: 14 }, 0),
            (Action::Vmap { pages: 3 }, 1),
            (Action::Vfree, 0),
            (Action::VmMapRam { pages: 40 }, 0),
            (Action::Vunmap, 1),
            (Action::VmUnmapAliases, 0),
            (Action::VmUnmapRam, 0),
        ]);
    }
    // What is alive at the end is freed between the loops.
    calls.push((Action::Vmalloc { size: 1, align: 0 }, 2));
    let text = run(&program(&calls), Parameters { loops: 2, timed: false, samples: 0 })
        .expect("the program is right");
    for line in [
        "vmalloc: calls 402 failed 0 pages 802 ",
        "vfree: calls 400 failed 0 pages 800 ",
        "vmap: calls 400 failed 0 pages 1200 ",
        "vm_map_ram: calls 400 failed 0 pages 16000 ",
        "vm_unmap_aliases: calls 400 failed 0 ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("space: peak 45 "), "{text}");
}

#[test_case]
fn what_is_refused_counts_as_that_and_its_free_is_no_call() {
    let calls = [(Action::Vmalloc { size: 1 << 40, align: 0 }, 0), (Action::Vfree, 0)];
    let text = run(&program(&calls), ONCE).expect("the program is right");
    assert!(text.contains("vmalloc: calls 1 failed 1 pages 0 "), "{text}");
    assert!(text.contains("vfree: calls 0 failed 0 "), "{text}");
}

#[test_case]
fn a_program_can_take_as_long_as_it_took() {
    let calls = [(Action::VmUnmapAliases, 0); 101];
    let text = run(&program(&calls), Parameters { loops: 1, timed: true, samples: 0 })
        .expect("the program is right");
    let microseconds = text.split("microseconds ").nth(1).and_then(|rest| rest.split(' ').next());
    let microseconds: u64 = microseconds.and_then(|number| number.parse().ok()).expect("it is told");
    assert!(microseconds >= 10_000, "100 calls, one each 100 microseconds: {text}");
}

#[test_case]
fn what_is_wrong_in_a_program_is_named() {
    let told = |bytes: &[u8]| run(bytes, ONCE).expect_err("the program is wrong").to_string();
    let good = program(&[(Action::Vmap { pages: 3 }, 1), (Action::Vunmap, 1)]);
    assert_eq!(told(&good[..20]), "the program is cut within its header");
    assert_eq!(told(&good[..good.len() - 1]), "the program is cut: 1 of 2 calls are there");
    assert_eq!(told(&[0; 99]), "this is no program of calls, or one of another version");
    let mut bad = good.clone();
    bad[Header::SIZE] = 77;
    assert_eq!(told(&bad), "call 0: a call of the kind 77, which is not known");
    let twice = program(&[(Action::Vmap { pages: 3 }, 1), (Action::Vmap { pages: 3 }, 1)]);
    assert_eq!(told(&twice), "its slot has an area already");
    let other = program(&[(Action::Vmap { pages: 3 }, 1), (Action::Vfree, 1)]);
    assert_eq!(told(&other), "its slot has no area of that kind");
    let mut many = Header { calls: 0, slots: 1, frames: u32::MAX, cpus: 1 }.to_bytes().to_vec();
    assert_eq!(told(&many), "there are not 4294967295 free frames");
    many = Header { calls: 0, slots: u32::MAX, frames: 0, cpus: 1 }.to_bytes().to_vec();
    assert!(told(&many).contains("memory allocation failed"), "{}", told(&many));
}
