//! Commands to play by hand, `top`, and the filter behind a command.

use alloc::{format, string::ToString};
use kernel::{
    console::{self, complete},
    memory,
};

fn refusal(result: Result<(), kernel::command::CommandError>) -> alloc::string::String {
    result.expect_err("wrong").to_string()
}

/// Seen failing without the recovery: the kernel panicked.
#[test_case]
fn bytes_that_are_not_there_are_said_and_end_nothing() {
    let area = memory::vmalloc().vmalloc(100).expect("room");
    let start = area.as_ptr() as usize;
    console::poke(&[&format!("{start:#x}"), "a7"]).expect("it is there");
    // SAFETY: the area is the test's.
    assert_eq!(unsafe { area.read_volatile() }, 0xa7);
    console::peek(&[&format!("{start:x}"), "20"]).expect("it is there");
    let behind = format!("{:#x}", start + 4096);
    let told = refusal(console::peek(&[&behind]));
    assert!(
        told.starts_with(&format!("page fault: {behind} cannot be read: it is in the guard page of ")),
        "{told}"
    );
    let told = refusal(console::poke(&[&behind, "1"]));
    assert!(told.contains("cannot be written") && told.ends_with("0 bytes behind its end"), "{told}");
    assert_eq!(told.lines().count(), 1);
    // No address at all.
    assert!(refusal(console::peek(&["8000000000000000"])).contains("cannot be read"));
    // SAFETY: nobody uses the area.
    unsafe { memory::vmalloc().vfree(area) }.expect("allocated");
}

#[test_case]
fn wrong_words_are_named() {
    assert_eq!(refusal(console::peek(&["x"])), "x: not a hexadecimal address");
    assert_eq!(refusal(console::peek(&["1", "0"])), "0: not a number from 1 to 4096");
    assert_eq!(refusal(console::poke(&["1", "100"])), "100: not a hexadecimal byte");
    assert_eq!(refusal(console::vmalloc(&["5X"])), "5X: not a number of bytes, such as 5000, 64K or 2M");
    assert!(refusal(console::vmalloc(&["0"])).starts_with("0: an area of 0 bytes"));
    assert_eq!(refusal(console::vmap(&["0"])), "0: not a number of pages from 1 to 262144");
    assert!(refusal(console::vfree(&["1000"])).starts_with("1000: nothing that vmalloc or vmap made here"));
    assert_eq!(refusal(console::top(&["x"])), "x: neither nothing, mark nor clear");
    let told = refusal(console::sysctl::assign("lazy_max_pages=1"));
    assert_eq!(told, "lazy_max_pages: no such tunable; did you mean vmalloc.lazy_max_pages?");
}

#[test_case]
fn areas_made_by_hand_are_freed_by_hand() {
    let areas =
        || memory::vmalloc().areas().filter(|area| area.to_string().contains("play/areas.rs")).collect();
    console::vmalloc(&["64K"]).expect("room");
    console::vmap(&["3"]).expect("room");
    let made: alloc::vec::Vec<_> = areas();
    assert_eq!(made.iter().map(|area| area.pages).sum::<usize>(), 19);
    for area in made {
        console::vfree(&[&format!("{:#x}", area.start)]).expect("made by hand");
        refusal(console::vfree(&[&format!("{:#x}", area.start)]));
    }
    assert!(areas().is_empty());
}

/// Seen failing, mostly, with the list of areas taken away while one is added.
#[test_case]
fn areas_made_beside_each_other_are_all_freed_by_hand() {
    let areas =
        || memory::vmalloc().areas().filter(|area| area.to_string().contains("play/areas.rs")).collect();
    for _ in 0..20 {
        assert_eq!(console::run_beside("vmalloc 4K & vmap 2 & vmalloc 12K & vmap 1"), 0);
    }
    let made: alloc::vec::Vec<_> = areas();
    assert_eq!(made.len(), 80);
    for area in made {
        console::vfree(&[&format!("{:#x}", area.start)]).expect("made by hand");
    }
}

#[test_case]
fn top_counts_all_and_what_has_changed_since_a_mark() {
    console::top(&[]).expect("memory");
    console::top(&["mark"]).expect("memory");
    console::top(&["mark"]).expect("memory");
    console::top(&[]).expect("memory");
    console::top(&["clear"]).expect("there is a mark");
}

#[test_case]
fn what_may_stand_behind_a_command_is_completed() {
    assert_eq!(complete("", "vmalloci"), ["vmallocinfo"]);
    assert_eq!(complete("sysctl ", "vmalloc.rem"), ["vmalloc.remember"]);
    assert_eq!(complete("help; history ", "vm"), ["vmap-exhaust"]);
    assert_eq!(complete("test_vmalloc mode=smoke ", "test_l"), ["test_loop_count="]);
    assert!(complete("hold ", "").is_empty());
}
