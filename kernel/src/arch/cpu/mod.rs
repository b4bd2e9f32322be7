//! Which CPU this is, and staying on it.
//!
//! Each CPU's GS base points to its record (`record.rs`). Until [`init`] ran on it, nothing here may be used. Afterwards
//! anybody may call what is here in any context, unless a function says otherwise; no lock is taken.
//!
//! | file | what |
//! |---|---|
//! | `record` | what a CPU knows of itself |
//! | `online` | which CPUs run, and which are isolated |
//! | `pin`, `interrupt_flag` | keeping preemption and interrupts off |
//! | `sections` | how long they were off |
//! | `controls`, `identity` | how a CPU runs, and what it says it is |

pub mod controls;
mod identity;
pub mod interrupt_flag;
mod online;
mod pin;
mod record;
pub mod sections;

pub use identity::{brand, is_virtual, physical_bits};
pub use online::{MAX_CPUS, apic_id, is_isolated, isolated, online, online_count};
pub(crate) use online::{isolate, set_online};
pub use pin::Pin;
pub(super) use pin::unpin_in_interrupt;
pub(super) use record::set_in_interrupt;
pub use record::{
    assert_no_interrupt, current, debug_assert_no_interrupt, halt, in_interrupt, pins, stack, thread,
};
pub(crate) use record::{set_stack, set_thread, take_switch, want_switch};

/// Makes the number `number` that of the CPU this runs on.
///
/// # Safety
/// No other CPU has the number, and this one has none yet.
pub(crate) unsafe fn init(number: usize) {
    // SAFETY: promised by the caller.
    unsafe { record::init(number) };
    sections::follow_switch();
}
