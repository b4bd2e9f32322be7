//! The atomics of the parts that the models in `tests/interleavings` explore. Under `cfg(loom)` they are loom's.
//!
//! Everything that a protocol between CPUs rests on takes its atomics from here. Three kinds of atomics stay the
//! machine's under loom, too:
//!
//! * what lies in frames ([`framed`]): page table entries, the pointers of the table of descriptors, the links of what
//!   interrupt handlers freed. A frame holds bytes that the machine gives and takes back, and each of these has its size,
//!   where loom's are handles of its own;
//! * counters of what happened, and what is tuned, which order nothing;
//! * those of one thread.
//!
//! Loom runs one thread at a time, so an access that it does not know of never tears, and reads what was written
//! last. It explores no older value there, and changes threads at the accesses that it knows: what entries promise of
//! order is modelled by an atomic of the model's own (`tests/interleavings/machine.rs`).
//!
//! Under `cfg(shuttle)` all of them, those in frames too, are the machine's behind a place where another thread may come
//! in. Nothing is out of order there; it is for schedules of whole calls, which are too long for loom
//! (`tests/schedules` of the package).

#[cfg(not(any(loom, shuttle)))]
pub(crate) use core::hint::spin_loop;
/// Those in frames, each as long as the machine's.
#[cfg(not(shuttle))]
pub(crate) use core::sync::atomic as framed;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(loom)]
pub(crate) use explored::*;
#[cfg(shuttle)]
pub(crate) use scheduled::{self as framed, *};

#[cfg(loom)]
mod explored {
    pub(crate) use loom::{
        hint::spin_loop,
        sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    };

    loom::lazy_static! {
        static ref FENCES: AtomicU32 = AtomicU32::new(0);
    }

    /// A fence, and a place where another thread may come in. Loom changes threads only at accesses that conflict, so
    /// all fences share one, which orders nothing.
    pub(crate) fn fence(order: Ordering) {
        FENCES.fetch_add(0, Ordering::Relaxed);
        loom::sync::atomic::fence(order);
    }
}

#[cfg(shuttle)]
pub(crate) mod scheduled {
    extern crate std;

    pub(crate) use core::sync::atomic::{Ordering, fence};
    use core::{
        ops::{Deref, DerefMut},
        sync::atomic,
    };
    pub(crate) use shuttle::hint::spin_loop;

    /// A place where another thread may come in.
    pub(crate) fn switch() {
        // Shuttle does it before an access to one of its own. Tests run on several threads of the host.
        std::thread_local! {
            static ANY: shuttle::sync::atomic::AtomicBool = const { shuttle::sync::atomic::AtomicBool::new(false) };
        }
        ANY.with(|any| any.load(Ordering::SeqCst));
    }

    /// Makes atomics of the machine's which threads may change before each access.
    macro_rules! switching {
        ($($name:ident $(<$of:ident>)? : $value:ty;)*) => {$(
            #[derive(Debug, Default)]
            #[repr(transparent)]
            pub(crate) struct $name $(<$of>)? (atomic::$name $(<$of>)?);

            impl $(<$of>)? $name $(<$of>)? {
                pub const fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }
            }

            impl $(<$of>)? Deref for $name $(<$of>)? {
                type Target = atomic::$name $(<$of>)?;

                fn deref(&self) -> &Self::Target {
                    switch();
                    &self.0
                }
            }

            impl $(<$of>)? DerefMut for $name $(<$of>)? {
                fn deref_mut(&mut self) -> &mut Self::Target {
                    &mut self.0
                }
            }
        )*};
    }

    switching! {
        AtomicBool: bool;
        AtomicI64: i64;
        AtomicPtr<T>: *mut T;
        AtomicU32: u32;
        AtomicU64: u64;
        AtomicUsize: usize;
    }
}
