//! The kernel's locks: each says what it turns off while it is held.
//!
//! | lock | while held | for |
//! |---|---|---|
//! | [`SpinLock`] | preemption is off | what threads share |
//! | [`IrqLock`] | interrupts are off too | what interrupts take as well |
//!
//! [`Exclusive`] is no lock: who comes second is refused, and who has it may sleep.
//!
//! Nobody sleeps, and no heap memory is allocated or freed, while a lock is held: debug builds panic. Guards stay with the thread
//! that locked, and go in any order but where interrupts are off: there the one that was made later goes first. Debug builds
//! check the order they are taken in: see [`order`]. How long they are waited for is counted on request: see [`stat`].
//!
//! All rooms but `arch` use them; what they take in which order their headers say. A [`SpinLock`] is for threads alone, an
//! [`IrqLock`] for interrupt handlers too.

mod class;
mod exclusive;
mod irq_lock;
pub mod order;
mod spin_lock;
pub mod stat;
pub mod waits;

pub use class::Class;
pub use exclusive::{Exclusive, ExclusiveGuard};
pub use irq_lock::{IrqLock, IrqLockGuard};
pub use spin::once::Once;
pub use spin_lock::{SpinLock, SpinLockGuard};

/// A lock class of its own for each place this stands at: `&'static` [`Class`], by its name; or one of locks
/// under which memory is [allocated](Class::allocating).
#[macro_export]
macro_rules! lock_class {
    ($name:expr) => {{
        static CLASS: $crate::sync::Class = $crate::sync::Class::new($name);
        &CLASS
    }};
    (allocating $name:expr) => {{
        static CLASS: $crate::sync::Class = $crate::sync::Class::allocating($name);
        &CLASS
    }};
}
