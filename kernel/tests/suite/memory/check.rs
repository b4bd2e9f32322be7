//! The library's self-check, on this machine.

use kernel::{
    arch::{cpu, layout, paging},
    memory::{self, frames},
    threads::Builder,
};
use vmalloc::{
    Flusher, NewError, PAGE_SIZE, Platform, Request,
    check::{self, Broken, Cpu, Report, Seen, ThisCpu, Untried},
};
use x86_64::registers::control::Cr8;

fn run() -> Result<Report, Broken> {
    // SAFETY: this is a kernel, and no experiment is under way.
    unsafe { check::platform(memory::vmalloc().platform(), layout::EXPERIMENTS, |_| ()) }
}

#[test_case]
fn this_machine_keeps_its_promises_on_every_cpu() {
    let online = cpu::online();
    for cpu in online.iter() {
        let checked = Builder::new("check").on_cpu(cpu).spawn(run).expect("memory enough").join();
        let report = checked.unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!((report.cpu, report.online, report.grace), (cpu, online, true), "{report}");
        let broadcasts = memory::vmalloc().platform().broadcasts();
        assert_eq!(report.answered, if broadcasts { 0 } else { online.count() - 1 }, "{report}");
        assert!(report.untried().all(|what| what != Untried::Tables), "{report}");
        assert!(paging::lookup(layout::EXPERIMENTS.start as u64).is_none(), "it is unmapped again");
    }
}

/// Seen failing with an answer that is always the same, and with interrupts alone looked at.
#[test_case]
fn a_cpu_takes_interrupts_where_neither_it_nor_its_interrupt_controller_masks_them() {
    let platform = memory::vmalloc().platform();
    let _pin = platform.pin();
    assert!(ThisCpu.takes_interrupts());
    platform.uninterrupted(|| assert!(!ThisCpu.takes_interrupts()));
    for (class, takes) in [(14, true), (15, false)] {
        Cr8::write_raw(class);
        let seen = ThisCpu.takes_interrupts();
        Cr8::write_raw(0);
        assert_eq!(seen, takes, "class {class}");
    }
}

/// What it takes comes back, to a frame, if nobody else takes any.
#[test_case]
fn a_check_takes_no_frames() {
    let free = (0..10).map(|_| {
        run().unwrap_or_else(|broken| panic!("{broken}"));
        frames::free()
    });
    let (least, most) = free.fold((usize::MAX, 0), |(least, most), free| (least.min(free), most.max(free)));
    assert!(most - least < 30, "{least} to {most} frames are free after a check of 38 and more");
}

/// The range of the kernel's own instance, the direct map, the image and the stack are refused by their page tables.
#[test_case]
fn ranges_in_use_are_refused() {
    let area = memory::vmalloc().allocate(Request::new(PAGE_SIZE)).expect("memory enough");
    let stack = core::ptr::from_ref(&area) as usize;
    let block = |address: usize| {
        let start = address & !(vmalloc::BLOCK_SIZE - 1);
        start..start + vmalloc::BLOCK_SIZE
    };
    let direct = layout::DIRECT_MAP_START as usize;
    for address in [area.as_ptr() as usize, stack, run as *const () as usize, direct + (4 << 20)] {
        // SAFETY: this is a kernel; nothing is mapped, because the range is in use.
        let checked = unsafe { check::platform(memory::vmalloc().platform(), block(address), |_| ()) };
        let broken = checked.expect_err("in use");
        let Seen::Refused(NewError::InUse { address: found, .. }) = broken.seen else { panic!("{broken}") };
        assert!(block(address).contains(&found), "{broken}");
    }
    // SAFETY: allocated above, and used no more.
    unsafe { memory::vmalloc().vfree(area) }.expect("allocated");
}
