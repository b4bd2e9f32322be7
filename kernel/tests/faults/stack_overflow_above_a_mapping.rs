//! Endless recursion on a stack that lies above a mapping without a guard page must hit the stack's own guard page,
//! and be reported with the thread's name. Seen failing, by pages of the mapping that were overwritten, with stacks
//! that are areas like any other.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::{
    hint::black_box,
    mem,
    sync::atomic::{AtomicUsize, Ordering},
};
use kernel::{
    arch::cpu,
    drivers::power,
    memory::{self, frames},
    println, threads,
};
use vmalloc::{BLOCK_PAGES, PAGE_SIZE, Protection};

protocol::test_kernel!("an_overflow_above_a_mapping_hits_a_guard_page");
kernel::entry!(main);

/// Threads that have begun.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
/// Where the mapping ends.
static END: AtomicUsize = AtomicUsize::new(0);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "of the thread deep");
    let mut taken = Vec::with_capacity(BLOCK_PAGES);
    frames::take(BLOCK_PAGES, |frame| taken.push(frame));
    // A block of which each page is mapped, before the block that stacks come from next.
    let map = memory::vmalloc().vm_map_ram(&taken, Protection::ReadWrite).expect("room");
    END.store(map.as_ptr() as usize + BLOCK_PAGES * PAGE_SIZE, Ordering::Release);
    for number in 1..=300 {
        // It parks, and keeps its stack, or it overflows.
        mem::forget(threads::spawn("deep", overflow_above_a_mapping).expect("memory enough"));
        while BEGUN.load(Ordering::Acquire) < number {
            threads::yield_now();
        }
    }
    println!("no stack came to lie above the mapping");
    power::exit(protocol::Exit::Failure);
}

fn overflow_above_a_mapping() {
    let bottom = cpu::stack().start;
    // Right below, or below a guard page.
    if bottom.wrapping_sub(END.load(Ordering::Acquire)) > PAGE_SIZE {
        BEGUN.fetch_add(1, Ordering::Release);
        loop {
            threads::park();
        }
    }
    recurse(0, bottom - PAGE_SIZE);
    println!("the stack went on into what is mapped below it");
    power::exit(protocol::Exit::Failure);
}

fn recurse(depth: u64, until: usize) -> u64 {
    let frame = black_box([depth; 16]);
    if (frame.as_ptr() as usize) < until {
        return frame[2];
    }
    recurse(depth + 1, until) + frame[3]
}
