//! The first threads.

use super::{
    reaper,
    scheduler::thread,
    spawn::{self, SpawnError},
    start,
    waiting::timer,
};
use crate::memory::{self, Stack};
use vmalloc::AllocError;

/// Makes the code that calls it, on the boot CPU, the thread `main`, which stays on this CPU; starts the
/// tick, and the thread that buries others. Called once, with interrupts on.
///
/// # Errors
/// No memory for these threads.
pub(crate) fn init() -> Result<(), SpawnError> {
    init_idle().map_err(SpawnError::OutOfMemory)?;
    // A thread may wait, and does where memory is short: for that there is an idle thread, and a tick.
    spawn::adopt_main();
    timer::start();
    reaper::init()
}

/// Bytes of the boot CPU's stack to idle on; the others idle on the stacks they started on.
const STACK: usize = 16 << 10;

/// Gives the boot CPU, which does something else now, an idle thread.
///
/// # Errors
/// No memory for its stack.
fn init_idle() -> Result<(), AllocError> {
    let stack = Stack::new(memory::vmalloc(), STACK)?;
    start::prepare(thread::idle(0), &stack.range());
    core::mem::forget(stack);
    Ok(())
}
