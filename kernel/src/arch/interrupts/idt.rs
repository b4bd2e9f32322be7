//! Entry from exceptions and interrupts: every register is saved, then [`exceptions::handle`] or
//! [`handler::handle`] is called.
//!
//! There are two tables, each made once and never changed: one for the boot CPU until it has stacks for exceptions, and
//! one for all CPUs afterwards. `bringup` loads them.

use super::{
    exceptions::{self, Registers},
    handler,
    segments::ExceptionStack,
};
use crate::arch::apic::Vector;
use core::{arch::naked_asm, mem::offset_of};
use spin::Once;
use x86_64::{
    PrivilegeLevel, VirtAddr,
    structures::idt::{EntryOptions, InterruptDescriptorTable},
};

/// Saves all registers as a [`Registers`] behind what the CPU (and the stub) pushed, calls the
/// handler with it, restores them, and returns to what was interrupted.
#[unsafe(naked)]
extern "C" fn save_and_handle() {
    naked_asm!(
        "push r15", "push r14", "push r13", "push r12", "push r11", "push r10", "push r9", "push r8",
        "push rbp", "push rdi", "push rsi", "push rdx", "push rcx", "push rbx", "push rax",
        "mov rdi, rsp",
        "cld",
        // The CPU aligns the stack to 16 bytes before it pushes five words; with vector, error code
        // and fifteen registers that makes 22: aligned again.
        "call {handle}",
        "pop rax", "pop rbx", "pop rcx", "pop rdx", "pop rsi", "pop rdi", "pop rbp",
        "pop r8", "pop r9", "pop r10", "pop r11", "pop r12", "pop r13", "pop r14", "pop r15",
        "add rsp, 16",
        "iretq",
        handle = sym handle,
    )
}

extern "C" fn handle(registers: &mut Registers) {
    match registers.vector {
        EXCEPTIONS.. => handler::handle(registers),
        _ => exceptions::handle(registers),
    }
}

/// Vectors below this are the CPU's own; Intel SDM 3A, section 7.2.
const EXCEPTIONS: u64 = 32;

const _: () = assert!(offset_of!(Registers, vector) == 15 * 8 && size_of::<Registers>() == 22 * 8);

/// A stub pushes the vector, below it an error code of zero where the CPU pushes none.
macro_rules! stubs {
    ($($name:ident: $vector:literal $($zero:literal)?;)*) => {
        $(
            #[unsafe(naked)]
            extern "C" fn $name() {
                naked_asm!($($zero,)? concat!("push ", $vector), "jmp {save}", save = sym save_and_handle)
            }
        )*
    };
}

stubs! {
    divide_error: 0 "push 0";
    debug: 1 "push 0";
    nmi: 2 "push 0";
    breakpoint: 3 "push 0";
    overflow: 4 "push 0";
    bound_range: 5 "push 0";
    invalid_opcode: 6 "push 0";
    device_not_available: 7 "push 0";
    double_fault: 8;
    invalid_tss: 10;
    segment_not_present: 11;
    stack_segment: 12;
    general_protection: 13;
    page_fault: 14;
    x87_error: 16 "push 0";
    alignment_check: 17;
    machine_check: 18 "push 0";
    simd_error: 19 "push 0";
    virtualization: 20 "push 0";
    control_protection: 21;
    unexpected: 0x20 "push 0";
    timer: 0x30 "push 0";
    reschedule: 0x31 "push 0";
    flush: 0x32 "push 0";
    call: 0x33 "push 0";
    flushed: 0x34 "push 0";
    spurious: 0xff "push 0";
}

/// The stub of each vector, which pushes its number.
const fn stub(vector: Vector) -> extern "C" fn() {
    match vector {
        Vector::Unexpected => unexpected,
        Vector::Timer => timer,
        Vector::Reschedule => reschedule,
        Vector::Flush => flush,
        Vector::Call => call,
        Vector::Flushed => flushed,
        Vector::Spurious => spurious,
    }
}

/// Takes exceptions on the stack they interrupt: all there is until [`load`].
pub fn load_early() {
    static TABLE: Once<InterruptDescriptorTable> = Once::new();
    TABLE.call_once(table).load();
}

/// Takes double faults, page faults and NMIs on stacks of their own. The CPU this runs on must have them (see
/// [`Segments`](super::segments::Segments)).
pub fn load() {
    static TABLE: Once<InterruptDescriptorTable> = Once::new();
    TABLE.call_once(table_with_stacks).load();
}

/// Makes a table of all stubs, each on the stack it interrupts.
fn table() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    let address = |stub: extern "C" fn()| VirtAddr::new(stub as usize as u64);
    macro_rules! set {
        ($($entry:ident: $stub:ident,)*) => {
            $(
                // SAFETY: the stub is written for this entry: it expects an error code where the
                // CPU pushes one, and returns by `iretq`.
                kernel_only(unsafe { idt.$entry.set_handler_addr(address($stub)) });
            )*
        };
    }
    set! {
        divide_error: divide_error, debug: debug, non_maskable_interrupt: nmi, breakpoint: breakpoint,
        overflow: overflow, bound_range_exceeded: bound_range, invalid_opcode: invalid_opcode,
        device_not_available: device_not_available, double_fault: double_fault, invalid_tss: invalid_tss,
        segment_not_present: segment_not_present, stack_segment_fault: stack_segment,
        general_protection_fault: general_protection, page_fault: page_fault, x87_floating_point: x87_error,
        alignment_check: alignment_check, machine_check: machine_check, simd_floating_point: simd_error,
        virtualization: virtualization, cp_protection_exception: control_protection,
    }
    for vector in EXCEPTIONS as u8..=u8::MAX {
        let stub = stub(Vector::of(vector));
        // SAFETY: none of these vectors comes with an error code, and the stub returns by `iretq`.
        kernel_only(unsafe { idt[vector].set_handler_addr(address(stub)) });
    }
    idt
}

/// Makes a [`table`] that switches stacks for the exceptions that must not trust the one they interrupt.
fn table_with_stacks() -> InterruptDescriptorTable {
    let mut idt = table();
    let address = |stub: extern "C" fn()| VirtAddr::new(stub as usize as u64);
    // SAFETY: the stubs are those of `table`; the TSS has these stacks, used by nothing else.
    unsafe {
        idt.double_fault
            .set_handler_addr(address(double_fault))
            .set_stack_index(ExceptionStack::DoubleFault as u16);
        idt.page_fault
            .set_handler_addr(address(page_fault))
            .set_stack_index(ExceptionStack::PageFault as u16);
        idt.non_maskable_interrupt.set_handler_addr(address(nmi)).set_stack_index(ExceptionStack::Nmi as u16);
    }
    idt
}

fn kernel_only(options: &mut EntryOptions) {
    options.set_privilege_level(PrivilegeLevel::Ring0);
}
