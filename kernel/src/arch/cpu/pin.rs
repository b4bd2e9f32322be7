//! Staying on a CPU: preemption is off while a [`Pin`] lives.

use super::{
    record::{Cpu, current, in_interrupt, this},
    sections::{self, Kind},
};
use crate::{arch::hooks, assert_stays};
use core::{
    arch::{asm, naked_asm},
    hint::cold_path,
    marker::PhantomData,
    mem::offset_of,
    panic::Location,
    sync::atomic::Ordering,
};
use x86_64::instructions::interrupts;

/// Keeps the running code on its CPU until dropped. It stays with that code, neither sent to other threads nor shared
/// with them: the count that it is a part of is the CPU's.
#[must_use]
pub struct Pin {
    stays: PhantomData<*mut ()>,
}

assert_stays!(Pin, &'static Pin);

/// Calls one of the functions that `aside!` defines, below.
macro_rules! call_aside {
    ($function:ident $(, $($operand:tt)+)?) => {{
        cold_path();
        // SAFETY: it keeps all registers that are not named as its result, and the stack. The call writes below the top of the
        // stack. The kernel's target has no red zone (`disable-redzone`): no function has anything there, because interrupts
        // write there at any time.
        unsafe { asm!("call {}", sym $function $(, $($operand)+)?, options(nostack)) }
    }};
}

impl Pin {
    /// Turns preemption off. May nest.
    #[inline]
    #[track_caller]
    pub fn new() -> Self {
        // SAFETY: GS points to this CPU's `Cpu`. One instruction, so an interrupt sees it whole.
        // It may write memory as far as the compiler knows: nothing is moved out of the section.
        unsafe {
            asm!(
                "inc dword ptr gs:[{}]",
                "jns {}",
                const offset_of!(Cpu, preemption),
                label { call_aside!(pinned_aside, in("rax") Location::caller()) },
                options(nostack)
            );
        }
        Self { stays: PhantomData }
    }

    /// As [`new`](Self::new), but `None` in an interrupt handler. Costs no more: there the CPU is not quiet.
    #[inline]
    #[track_caller]
    pub fn outside_interrupts() -> Option<Self> {
        // SAFETY: as in `new`. In a handler `pinned_outside_interrupts` has taken the increment back.
        unsafe {
            asm!(
                "inc dword ptr gs:[{}]",
                "jns {}",
                const offset_of!(Cpu, preemption),
                label {
                    let inside: usize;
                    call_aside!(pinned_outside_interrupts_aside, inlateout("rax") Location::caller() => inside);
                    if inside != 0 {
                        return None;
                    }
                },
                options(nostack)
            );
        }
        Some(Self { stays: PhantomData })
    }

    /// Returns the number of the CPU that the code stays on.
    // It is read each time: kept, it would cost each function that a pin is handed to a register.
    #[inline]
    #[must_use]
    pub fn cpu(&self) -> usize {
        current()
    }
}

impl Default for Pin {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Pin {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        unsafe {
            asm!(
                "dec dword ptr gs:[{}]",
                "jz {}",
                const offset_of!(Cpu, preemption),
                label { call_aside!(last_pin_gone_aside) },
                options(nostack)
            );
        }
    }
}

/// Defines a function `$name` that calls `$body` with `$argument`. It keeps the registers that a call may change, and asks
/// for no alignment of the stack: so a function that makes a pin saves nothing on its common way, where this is not called.
/// At the end RAX is what `$end` makes of what it was before, which is on the stack, and of what `$body` returned.
macro_rules! aside {
    ($name:ident, $body:ident($argument:literal), $end:literal) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                "push rbp",
                "mov rbp, rsp",
                "push rax",
                "push rcx",
                "push rdx",
                "push rsi",
                "push rdi",
                "push r8",
                "push r9",
                "push r10",
                "push r11",
                concat!("mov rdi, ", $argument),
                "and rsp, -16",
                "call {}",
                "lea rsp, [rbp - 72]",
                "pop r11",
                "pop r10",
                "pop r9",
                "pop r8",
                "pop rdi",
                "pop rsi",
                "pop rdx",
                "pop rcx",
                $end,
                "pop rbp",
                "ret",
                sym $body,
            )
        }
    };
}

aside!(pinned_aside, pinned("rax"), "pop rax");
aside!(pinned_outside_interrupts_aside, pinned_outside_interrupts("rax"), "add rsp, 8");
// What it was called before is the return address.
aside!(last_pin_gone_aside, last_pin_gone("[rbp + 8]"), "pop rax");

/// A pin was made at `place`, perhaps the first, while the CPU was not quiet.
extern "C" fn pinned(place: &'static Location<'static>) {
    sections::begin(Kind::Preemption, place);
}

/// As [`pinned`]; but an interrupt handler is unpinned again. Returns 1 then, and 0 otherwise.
extern "C" fn pinned_outside_interrupts(place: &'static Location<'static>) -> usize {
    let inside = in_interrupt();
    if inside {
        // Not the last one: the handler itself runs pinned.
        this().preemption.fetch_sub(1, Ordering::Relaxed);
    } else {
        pinned(place);
    }
    inside.into()
}

/// The last pin ended before `behind` while the CPU was not quiet. A switch that was put off for the pins is
/// made, but with interrupts off it stays put off, until the next pin or interrupt ends with them on.
extern "C" fn last_pin_gone(behind: usize) {
    // The next function may begin behind the call.
    let place = behind - 1;
    // An interrupt that came between the decrement and here has ended the section itself.
    interrupts::without_interrupts(|| sections::end(Kind::Preemption, place));
    if this().switch_wanted.load(Ordering::Relaxed) && interrupts::are_enabled() {
        (hooks::HOOKS.get().preempt)();
    }
}

/// For the end of an interrupt: ends a pin, and says whether a switch was put off for it, which the
/// caller now owes.
pub(in crate::arch) fn unpin_in_interrupt(pin: Pin) -> bool {
    core::mem::forget(pin);
    let this = this();
    // The decrement of the pin that was just forgotten. Interrupts are off.
    let last = this.preemption.fetch_sub(1, Ordering::Relaxed) == 1;
    if last {
        sections::end(Kind::Preemption, sections::here());
    }
    last && this.switch_wanted.load(Ordering::Relaxed)
}
