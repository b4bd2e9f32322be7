//! `vm_map_ram`: pages that a CPU takes one behind the other, and counts when they are unmapped.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};
use std::ptr::NonNull;
use vmalloc::{Frame, PAGE_SIZE, Platform, Protection};

/// Maps frames of the CPU's own, uses them and unmaps them, so often that a single one gets the same page twice.
fn map(cpu: &Cpu<'_>, count: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    assert_eq!(cpu.machine.take_frames(count, |frame| frames.push(frame)), count);
    for round in 0..4_u8 {
        let mapped = cpu.vmalloc.vm_map_ram(&frames, Protection::ReadWrite).expect("room");
        for page in 0..count {
            let address = mapped.addr().get() + page * PAGE_SIZE;
            cpu.machine.write_bytes(address, &[round, page as u8]).expect("mapped");
            cpu.speculate();
            let mut bytes = [0; 2];
            cpu.machine.read_bytes(address, &mut bytes).expect("mapped");
            assert_eq!(bytes, [round, page as u8], "another's page");
        }
        // SAFETY: nobody uses it.
        unsafe { cpu.vmalloc.vm_unmap_ram(mapped, count) }.expect("mapped");
    }
    frames
}

/// Two CPUs map and unmap frames; each then flushes what is left, and gives its frames back. A third one gives back what
/// both have.
///
/// Seen failing when what is being given back just now is not asked for (`are_being_released`).
#[test]
fn aliases_are_flushed_before_the_frames_are_others() {
    explore(|| {
        let work = |cpu: &Cpu<'_>| {
            let frames = map(cpu, 2);
            cpu.vmalloc.vm_unmap_aliases();
            frames.into_iter().for_each(|frame| cpu.machine.give_back(frame));
        };
        Model::new(3, 1600).run(work, &[&work, &work, &|cpu| cpu.vmalloc.trim()], |_| {});
    });
}

/// A CPU has unmapped a frame. Another one flushes and gives the frame back while a third one, which is pinned, gives back
/// what it can without waiting: it links again what it had unlinked.
///
/// Seen failing when what was linked again meanwhile is not asked for (`relinked`).
#[test]
fn aliases_are_flushed_though_they_were_out_of_sight_for_a_moment() {
    explore(|| {
        let unmapped = std::sync::Mutex::new(Vec::new());
        let prepare = |cpu: &Cpu<'_>| {
            if cpu.number == 0 {
                unmapped.lock().expect("no panic").extend(map(cpu, 1));
            }
        };
        let flush = |cpu: &Cpu<'_>| {
            let frames = core::mem::take(&mut *unmapped.lock().expect("no panic"));
            cpu.vmalloc.vm_unmap_aliases();
            frames.into_iter().for_each(|frame| cpu.machine.give_back(frame));
        };
        let release = |cpu: &Cpu<'_>| {
            let _pin = cpu.machine.pin();
            (0..6).for_each(|_| cpu.vmalloc.release_cpu(0));
        };
        Model::new(3, 1600).run(prepare, &[&|_| {}, &flush, &release], |_| {});
    });
}

/// Two CPUs map and unmap frames. When both have, a third one flushes and gives all frames back.
///
/// Seen failing with a flush of what is pending alone, whatever CPUs have unmapped and not retired.
#[test]
fn one_cpu_flushes_what_others_unmapped() {
    explore(|| {
        let unmapped = std::sync::Mutex::new(Vec::new());
        let work = |cpu: &Cpu<'_>| {
            let frames = map(cpu, 1);
            unmapped.lock().expect("no panic").extend(frames);
        };
        let flush = |cpu: &Cpu<'_>| {
            for _ in 0..2 {
                let frames = core::mem::take(&mut *unmapped.lock().expect("no panic"));
                cpu.vmalloc.vm_unmap_aliases();
                frames.into_iter().for_each(|frame| cpu.machine.give_back(frame));
            }
        };
        Model::new(3, 1600).run(work, &[&work, &work, &flush], flush);
    });
}

/// A CPU maps frames, one beside the other in one block. Two others unmap them, and each flushes and gives back what it
/// unmapped.
///
/// Seen failing with a block that is put into a list when its lock is open already: the second one of those who retire pages
/// there found it marked as listed, and flushed before it was in a list.
#[test]
fn each_of_two_who_unmap_in_one_block_flushes_its_pages() {
    explore(|| {
        let mapped = std::sync::Mutex::new(Vec::new());
        let map = |cpu: &Cpu<'_>| {
            for _ in 0..4 {
                let mut frames = Vec::new();
                assert_eq!(cpu.machine.take_frames(1, |frame| frames.push(frame)), 1);
                let area = cpu.vmalloc.vmap(&frames, Protection::ReadWrite).expect("room");
                cpu.machine.write_bytes(area.addr().get(), &[1]).expect("mapped");
                mapped.lock().expect("no panic").push((area.addr(), frames[0]));
            }
        };
        let unmap = |cpu: &Cpu<'_>| {
            for _ in 0..6 {
                let Some((area, frame)) = mapped.lock().expect("no panic").pop() else { continue };
                // SAFETY: nobody else uses it.
                unsafe { cpu.vmalloc.vunmap(NonNull::without_provenance(area)) }.expect("mapped");
                cpu.vmalloc.vm_unmap_aliases();
                cpu.machine.give_back(frame);
            }
        };
        Model::new(3, 1600).run(map, &[&map, &unmap, &unmap], unmap);
    });
}

/// A CPU maps and unmaps a frame again and again while another one looks at all that is mapped.
///
/// Seen failing with a mapping without pages, which was unmapped between two looks at its first entry.
#[test]
fn what_is_unmapped_meanwhile_is_told_or_not() {
    explore(|| {
        let work = |cpu: &Cpu<'_>| {
            let mut frames = Vec::new();
            assert_eq!(cpu.machine.take_frames(1, |frame| frames.push(frame)), 1);
            for _ in 0..60 {
                let mapped = cpu.vmalloc.vm_map_ram(&frames, Protection::ReadWrite).expect("room");
                // SAFETY: nobody uses it.
                unsafe { cpu.vmalloc.vm_unmap_ram(mapped, 1) }.expect("mapped");
            }
            cpu.vmalloc.vm_unmap_aliases();
            frames.into_iter().for_each(|frame| cpu.machine.give_back(frame));
        };
        let look = |cpu: &Cpu<'_>| (0..4).for_each(|_| cpu.look_at_all());
        Model::new(2, 1600).run(work, &[&work, &look], |_| {});
    });
}
