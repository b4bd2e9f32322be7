//! What all CPUs write, apart from what their fast paths read.

use core::ops::Deref;

/// Has a line of memory for itself: whoever writes it takes from no CPU what lies beside it.
#[repr(align(64))]
pub(crate) struct Apart<T>(pub T);

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
