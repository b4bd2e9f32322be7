//! Exceptions of the kernel itself. Each means that an invariant is broken, a breakpoint that nobody waits at too:
//! they panic with a report of the cause, the address, what the rooms above know of it, and the registers.

use super::{
    attempt,
    stop::{self, Stopped},
};
use crate::arch::{cpu, hooks};
use core::fmt;
use vmalloc::PAGE_SIZE;
use x86_64::registers::control::Cr2;

/// All registers as the entry stubs save them, lowest address first.
#[repr(C)]
#[derive(Debug)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub flags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, .. } = self;
        writeln!(
            f,
            "rip {:016x} rsp {:016x} flags {:08x} error {:x}",
            self.rip, self.rsp, self.flags, self.error
        )?;
        writeln!(f, "rax {rax:016x} rbx {rbx:016x} rcx {rcx:016x} rdx {rdx:016x}")?;
        writeln!(f, "rsi {rsi:016x} rdi {rdi:016x} rbp {rbp:016x} r8  {r8:016x}")?;
        writeln!(f, "r9  {r9:016x} r10 {r10:016x} r11 {r11:016x} r12 {r12:016x}")?;
        write!(f, "r13 {r13:016x} r14 {r14:016x} r15 {r15:016x}")
    }
}

const NMI: u64 = 2;
/// Of an address that is none, too.
const GENERAL_PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;

/// Called by the entry stubs.
pub(in crate::arch) fn handle(registers: &mut Registers) {
    let vector = registers.vector;
    if matches!(vector, PAGE_FAULT | GENERAL_PROTECTION) && attempt::recover(registers) {
        return;
    }
    let interrupted = Stopped { at: registers.rip, stack: registers.rsp };
    if vector == NMI && stop::is_stopping() {
        if stop::is_for_later() {
            return;
        }
        stop::stop_this(interrupted);
    }
    stop::note(interrupted);
    match vector {
        PAGE_FAULT => {
            panic!("{}\n{registers}", PageFault { address: Cr2::read_raw(), error: registers.error })
        }
        vector => panic!("{} at {:#x}\n{registers}", name(vector), registers.rip),
    }
}

/// Intel SDM 3A, table 6-1.
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "no floating point unit",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        16 | 19 => "floating point error",
        17 => "alignment check",
        18 => "machine check",
        20 => "virtualization exception",
        21 => "control protection exception",
        _ => "unknown exception",
    }
}

struct PageFault {
    address: u64,
    error: u64,
}

impl fmt::Display for PageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address as usize;
        let access = match self.error {
            error if error & 1 << 4 != 0 => "execution",
            error if error & 1 << 1 != 0 => "write",
            _ => "read",
        };
        let cause = match self.error {
            error if error & 1 << 3 != 0 => "a reserved bit is set in its page table entry",
            error if error & 1 != 0 => "its page does not allow that",
            _ => "nothing is mapped there",
        };
        let stack = cpu::stack();
        if (stack.start.saturating_sub(PAGE_SIZE)..stack.start).contains(&address) {
            let (start, end) = (stack.start, stack.end);
            write!(
                f,
                "kernel stack overflow: {access} of {address:#x}, below the stack {start:#x}-{end:#x}"
            )?;
            f.write_str(" of the thread ")?;
            return (hooks::HOOKS.get().thread_name)(f);
        }
        write!(f, "page fault: {access} of {address:#x}: {cause}")?;
        (hooks::HOOKS.get().address)(address, f)
    }
}
