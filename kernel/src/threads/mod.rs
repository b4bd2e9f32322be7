//! Kernel threads.

/// Switches to another thread if one wants the CPU. Called, with nothing pinned, in two places: when
/// the last pin goes, with interrupts on; and at the end of an interrupt that came while they were on,
/// with interrupts off, on the interrupted thread's stack, after its registers were saved there. In
/// that place it returns, with interrupts off, when the interrupted thread goes on.
#[cold]
pub fn preempt() {}

/// Called on every tick of a CPU's timer, with interrupts off and pinned.
pub fn on_tick() {}

/// What a CPU does once it is online; called with interrupts off, on the stack it idles on.
pub fn run_cpu() -> ! {
    loop {
        x86_64::instructions::interrupts::enable_and_hlt();
    }
}
