//! `cpus`, `meminfo`, `trim` and `vmallocinfo`; below, what is counted.

pub mod lockinfo;
pub(super) mod tlbinfo;
pub mod top;
pub(super) mod whatis;

use crate::{
    arch::{apic, cpu},
    command::CommandError,
    memory::{self, frames, heap, percpu},
    println,
    services::{self, rcu},
};
use alloc::format;
use vmalloc::PAGE_SIZE;

pub(super) fn cpus(_: &[&str]) -> Result<(), CommandError> {
    for number in cpu::online().iter() {
        let isolated = if cpu::is_isolated(number) { ", isolated" } else { "" };
        println!("CPU {number:<2} APIC id {:<3} {} online{isolated}", cpu::apic_id(number), apic::mode());
    }
    Ok(())
}

pub(super) fn vmallocinfo(arguments: &[&str]) -> Result<(), CommandError> {
    let list = match arguments {
        [] => true,
        ["totals"] => false,
        [other, ..] => return Err(CommandError::new(format!("{other}: neither nothing nor totals"))),
    };
    let vmalloc = memory::vmalloc();
    let (mut areas, mut mapped) = (0, 0);
    for area in vmalloc.areas() {
        if list {
            println!("{area}");
        }
        areas += 1;
        mapped += area.populated;
    }
    if list {
        vmalloc.lazy_ranges(|range| {
            let pages = range.len() / PAGE_SIZE;
            println!("{:#018x}-{:#018x} {:>8} - pages={pages} lazy", range.start, range.end, range.len());
        });
    }
    let stats = vmalloc.stats();
    let fragmentation = stats.fragmentation();
    println!("areas            {areas:>12}");
    println!("mapped           {mapped:>12} pages");
    println!("used             {:>12} pages of address space", stats.used());
    println!("lazy             {:>12} pages of address space", stats.lazy);
    println!("parked           {:>12} pages of address space", stats.parked);
    println!("deferred         {:>12} areas, until a grace period is over", rcu::waiting().0);
    println!("free             {:>12} pages of address space", stats.free);
    println!("largest free run {:>12} pages of address space", stats.largest_free_run);
    println!("fragmentation    {:>9}.{:02} %", fragmentation / 100, fragmentation % 100);
    println!("metadata         {:>12} bytes", stats.metadata_bytes());
    println!("page tables      {:>12} pages", stats.table_frames());
    Ok(())
}

pub(super) fn trim(_: &[&str]) -> Result<(), CommandError> {
    percpu::trim();
    heap::trim();
    memory::vmalloc().trim();
    frames::drain_magazines();
    Ok(())
}

pub(super) fn meminfo(_: &[&str]) -> Result<(), CommandError> {
    let counts = frames::counts();
    let users = services::users();
    let heap = heap::usage();
    let line = |name: &str, frames: u64| println!("{name:<12} {frames:>10} frames {:>10} KiB", frames * 4);
    line("total", counts.total);
    line("free", counts.free);
    line("  magazines", counts.in_magazines);
    line("quarantined", users.quarantined);
    line("parked", users.parked);
    line("cached", users.kept);
    line("page tables", users.page_tables);
    line("records", users.records);
    line("deferred", users.deferred);
    line("heap", users.heap);
    line("vmalloc", users.areas);
    println!("heap in use  {:>10} bytes in {} chunks and {} areas", heap.used, heap.chunks, heap.large);
    println!("huge frames  {:>10} free", counts.huge_free);
    Ok(())
}
