//! Changing from one thread's stack to another's.
//!
//! Only what a called function must keep is saved; there is no floating point state.

use core::{arch::naked_asm, ops::Range, ptr::NonNull, sync::atomic::AtomicUsize};

/// Saves the running thread's registers on its stack and the stack pointer in `from`; goes on where the
/// thread left off whose stack pointer is `to`. Returns when somebody switches back.
///
/// # Safety
/// Interrupts are off. `to` was saved here or made by [`prepare`], and is used once. The stacks live.
#[unsafe(naked)]
pub(in crate::threads) unsafe extern "C" fn switch(from: &AtomicUsize, to: usize) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Words that [`switch`] leaves on a stack: six registers and where to return to; and one more, which
/// aligns the stack as a function expects it, and ends the chain of callers.
const WORDS: usize = 8;

/// Makes a stack that [`switch`] can go to: it will find itself at the start of `entry`. The result is
/// the stack pointer.
///
/// # Safety
/// The stack is memory that nobody else uses; its end is aligned to 16 bytes.
pub(in crate::threads) unsafe fn prepare(stack: &Range<usize>, entry: extern "C" fn() -> !) -> usize {
    let pointer = stack.end - WORDS * size_of::<usize>();
    let words = [0, 0, 0, 0, 0, 0, entry as usize, 0];
    if let Some(memory) = NonNull::new(pointer as *mut [usize; WORDS]) {
        // SAFETY: inside of the stack, which is the caller's.
        unsafe { memory.write(words) };
    }
    pointer
}
