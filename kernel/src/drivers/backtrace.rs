//! Who called whom, as far as a stack tells: the addresses on it that stand behind a call.

use crate::{
    arch::{interrupts::stop::Stopped, layout, paging},
    println,
};
use protocol::Place;
use vmalloc::PAGE_SIZE;
use x86_64::{
    registers::segmentation::{CS, Segment},
    structures::paging::PageTableFlags as Flags,
};

/// Bytes of a stack that are looked at.
const LENGTH: u64 = 4096;
/// Callers that are told.
const CALLERS: usize = 14;
const WORD: u64 = 8;

/// Writes where a CPU is that stays there, or is this one. Some of the callers may be left from earlier calls.
pub fn print(cpu: usize, Stopped { at, stack }: Stopped) {
    println!("  CPU {cpu}  {}", Place(at));
    // A stack pointer that is no multiple of a word's size would have a word reach into a guard page.
    let stack = stack & !(WORD - 1);
    let end = stack.saturating_add(LENGTH);
    let words = (stack..end).step_by(WORD as usize).map_while(|address| Some((address, read(address)?)));
    let mut callers = 0;
    for (address, word) in words {
        if was_interrupted(address) {
            println!("    in   {}", Place(word));
        } else if is_behind_call(word) {
            println!("    by   {}", Place(word - 1));
        } else {
            continue;
        }
        callers += 1;
        if callers == CALLERS {
            break;
        }
    }
}

/// Returns whether the CPU stored, at this address of a stack, where it was when an exception or an interrupt came: its code
/// segment and flags, of which bit 1 is always set, are above it (Intel SDM 3A, figure 6-9).
fn was_interrupted(address: u64) -> bool {
    let above = |words: u64| read(address + words * WORD);
    above(1) == Some(CS::get_reg().0.into())
        && above(2).is_some_and(|flags| flags & 2 != 0 && flags < 1 << 22)
}

/// Reads a word, aligned. `None`: nothing is mapped there.
fn read(address: u64) -> Option<u64> {
    paging::lookup(address)?;
    // SAFETY: the page is mapped, as was just seen; it is a stack that a CPU stands on, or code.
    Some(unsafe { (address as *const u64).read_volatile() })
}

/// Returns whether a call ends where an address begins: of an address in the instruction, or in a register or memory.
fn is_behind_call(address: u64) -> bool {
    const LONGEST: u64 = 7;
    let image = layout::IMAGE_START + PAGE_SIZE as u64..layout::IMAGE_START + layout::IMAGE_MAX;
    if !image.contains(&address) {
        return false;
    }
    let is_code =
        |address| paging::lookup(address).is_some_and(|page| !page.flags.contains(Flags::NO_EXECUTE));
    if !is_code(address - LONGEST) || !is_code(address) {
        return false;
    }
    // SAFETY: both ends of these few bytes are in pages of code.
    let byte = |back: u64| unsafe { ((address - back) as *const u8).read_volatile() };
    // ModRM with 2 in its middle is CALL.
    byte(5) == 0xe8
        || [2, 3, 4, 6, 7].into_iter().any(|back| byte(back) == 0xff && byte(back - 1) >> 3 & 7 == 2)
}
