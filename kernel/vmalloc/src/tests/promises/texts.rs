//! What errors and what is found say: one line, addresses in hexadecimal, whatever way they are printed.

extern crate std;

use crate::{
    AllocError, BLOCK_SIZE, Cache, CongruentError, Event, ForeignEntry, Frame, FreeError, Kind, NewError,
    PAGE_SIZE, Platform, PopulateError, ProtectError, Protection, ReallocError, Request, Returned,
    tests::{
        machine::Machine,
        support::{START, at, free, instance, resize, take},
    },
};
use core::{error::Error, fmt, panic::Location};
use std::{format, string::String, vec::Vec};

/// What `Display` and `Debug` write.
fn texts(value: &(impl fmt::Display + fmt::Debug)) -> [String; 2] {
    [format!("{value}"), format!("{value:?}")]
}

fn of_error(error: &impl Error) -> [String; 2] {
    texts(error)
}

/// Seen failing, at `Frame`, `AreaInfo`, `Event` and each error with an address, with `Debug` derived.
#[test]
fn no_address_is_decimal_and_no_text_has_two_lines() {
    let machine = Machine::new(1, 300);
    let vmalloc = instance(&machine, 8);
    let start = vmalloc.vmalloc(2 * PAGE_SIZE).expect("room").as_ptr() as usize;
    let area = vmalloc.find_area(start).expect("allocated");
    let (address, caller) = (START + 0x5000, Location::caller());
    let frame = Frame::new(0x1_2345_6789);
    let set = crate::CongruentSet { base: START, first: 0 };
    let alloc = [
        AllocError::ZeroSize,
        AllocError::TooLarge { size: 5 },
        AllocError::BadAlignment { align: 3 },
        AllocError::OutOfAddressSpace { size: 5, align: 1 << 40, longest: 3 },
        AllocError::OutOfFrames { needed: 5, free: 3 },
        AllocError::BadRange { start: START, end: address },
        AllocError::InInterrupt,
        AllocError::NoFrames,
        AllocError::BadFrame { frame },
        AllocError::BadPhysicalRange { start: frame.address(), size: 5 },
        AllocError::CachedElsewhere { frame },
    ];
    let free = [
        FreeError::InInterrupt { address, caller },
        FreeError::OutsideRange { address, caller },
        FreeError::NotAllocated { address, caller },
        FreeError::InsideArea { address, area, caller },
        FreeError::WrongKind { area, caller },
        FreeError::WrongLength { pages: 3, area, caller },
    ];
    let protect = [
        ProtectError::InInterrupt,
        ProtectError::BadRange { start: address, size: 5 },
        ProtectError::NotAllocated { address },
        ProtectError::BehindArea { area },
        ProtectError::WrongKind { area },
        ProtectError::OutOfFrames,
    ];
    let congruent = [
        CongruentError::BadCount { count: 0 },
        CongruentError::BadOffset { offset: address },
        CongruentError::Overlap { index: 3 },
        CongruentError::Refused(AllocError::NO_FRAMES),
    ];
    let populate = [
        PopulateError::InInterrupt,
        PopulateError::NotAllocated { base: START },
        PopulateError::BadRange { start: 4, end: 5 },
        PopulateError::Populated { address },
        PopulateError::NotPopulated { address },
        PopulateError::NO_FRAMES,
    ];
    let new =
        [NewError::BadRange(START..address), NewError::NotCanonical(START..address), NewError::OutOfFrames];
    let errors =
        alloc.iter().map(of_error).chain(free.iter().map(of_error)).chain(protect.iter().map(of_error));
    let errors = errors.chain(congruent.iter().map(of_error)).chain(populate.iter().map(of_error));
    let errors: Vec<_> = errors.chain(new.iter().map(of_error)).collect();
    assert!(errors.iter().all(|[display, debug]| display == debug), "unwrap shows what helps");
    let others = [
        texts(&frame),
        texts(&area),
        texts(&Event::Free { address, pages: 3, kind: Kind::Vmap, waiting: 0, caller }),
        texts(&Event::Allocate { address, pages: 3, size: 9, align: 4096, kind: Kind::Vmap, caller }),
        texts(&ForeignEntry { address, entry: 0x63 }),
        [format!("{set:?}"), format!("{:?}", Request::new(5).within(START, address).guard_below())],
    ];
    let texts = errors.into_iter().chain(others).flatten().chain([
        format!("{:?}", ReallocError::Address(free[0])),
        format!("{:?}", ReallocError::Size(alloc[0])),
    ]);
    for text in texts {
        assert!(!text.contains('\n') && text.len() < 300, "{text}");
        let numbers = text.split(|letter: char| !letter.is_alphanumeric());
        let decimal =
            numbers.filter(|word| word.len() > 7 && word.chars().all(|letter| letter.is_ascii_digit()));
        assert_eq!(decimal.count(), 0, "{text}");
    }
}

/// The errors as a user sees them.
#[test]
fn texts_name_what_was_asked_for_and_what_helps() {
    let machine = Machine::new(1, 300);
    let vmalloc = instance(&machine, 8);
    let area = vmalloc.vmalloc(2 * PAGE_SIZE).expect("room");
    let inside = at(area.as_ptr() as usize + PAGE_SIZE);
    let text = |error: FreeError| String::from(format!("{error}").split_once(": ").expect("who asked").1);
    let wrong = text(free(&vmalloc, inside).expect_err("inside"));
    let start = "0xffffc90040c01000 is not the start of its area, which is what to free: 0xffffc90040c00000-";
    assert!(wrong.starts_with(start), "{wrong}");
    let wrong = text(crate::tests::support::unmap(&vmalloc, area).expect_err("not mapped"));
    assert!(
        wrong.starts_with("the area is of another kind, which `vfree` frees: 0xffffc90040c00000-"),
        "{wrong}"
    );
    let wrong = text(crate::tests::support::unmap(&vmalloc, at(START - PAGE_SIZE)).expect_err("outside"));
    assert!(wrong.starts_with("0xffffc90040bff000 is outside the vmalloc range: "), "{wrong}");
    let Err(ReallocError::Address(wrong)) = resize(&vmalloc, at(START + 4 * PAGE_SIZE), 1) else {
        panic!("nothing is there")
    };
    let start = "nothing is allocated at 0xffffc90040c04000: it never was, or was freed before; ";
    assert!(text(wrong).starts_with(start), "{wrong}");
}

/// Seen failing with the numbers left as the rooms below say them.
#[test]
fn a_shortage_tells_what_was_asked_for_and_what_there_was() {
    let machine = Machine::new(1, 6000);
    let vmalloc = instance(&machine, 8);
    let held = vmalloc.allocate(Request::new(PAGE_SIZE).within(START, START + BLOCK_SIZE)).expect("room");
    let short = vmalloc.allocate(Request::new(7 * BLOCK_SIZE - PAGE_SIZE).align(4 * BLOCK_SIZE));
    let Err(error @ AllocError::OutOfAddressSpace { size, align, longest: 7 }) = short else {
        panic!("{short:?}")
    };
    assert_eq!((size, align), (7 * BLOCK_SIZE - PAGE_SIZE, 4 * BLOCK_SIZE));
    let text = "out of address space for 14675968 bytes aligned to 0x800000: the longest free run has 7 blocks of 2 MiB; ";
    assert!(format!("{error}").starts_with(text), "{error}");
    // More than is free, tables included, also for who does not wait; and more than the machine has.
    let taken = take(&machine, 4000);
    for request in [Request::new(2500 * PAGE_SIZE), Request::new(2500 * PAGE_SIZE).no_wait()] {
        let Err(error @ AllocError::OutOfFrames { needed: 2505, free }) = vmalloc.allocate(request) else {
            panic!("{request:?}")
        };
        assert_eq!(free, machine.free_frames());
        let text = format!(
            "out of frames: 2505 or more are needed for the area and its page tables, {free} are free; "
        );
        assert!(format!("{error}").starts_with(&text), "{error}");
    }
    free(&vmalloc, held).expect("allocated");
    (&machine).give_frames(Returned::new(taken.into_iter()));
    let machine = Machine::new(1, 300);
    let vmalloc = instance(&machine, 8);
    let (needed, free) = (301, machine.free_frames());
    assert_eq!(vmalloc.vmalloc(301 * PAGE_SIZE), Err(AllocError::OutOfFrames { needed, free }));
}

#[test]
fn words_for_what_users_print() {
    let frame = Frame::new(0x1a3);
    assert_eq!(format!("{frame} {frame:?}"), "0x1a3000 Frame(0x1a3000)");
    let protections = [Protection::ReadWrite, Protection::ReadOnly, Protection::ReadExecute];
    assert_eq!(protections.map(|it| format!("{it}")), ["read-write", "read-only", "read-execute"]);
    let caches = [Cache::WriteBack, Cache::WriteThrough, Cache::Uncached];
    assert_eq!(caches.map(|it| format!("{it}")), ["write-back", "write-through", "uncached"]);
    let kinds = [Kind::Vmalloc, Kind::Vmap, Kind::Ioremap, Kind::VmMapRam, Kind::Congruent];
    let words = kinds.map(|it| format!("{it} {}", it.freed_by()));
    let expected = [
        "vmalloc vfree",
        "vmap vunmap",
        "ioremap vunmap",
        "vm_map_ram vm_unmap_ram",
        "congruent free_congruent",
    ];
    assert_eq!(words, expected);
    let machine = Machine::new(1, 2000);
    let instance = instance(&machine, 8);
    assert_eq!(format!("{instance:?}"), "Vmalloc(0xffffc90040c00000..0xffffc90041c00000)");
}
