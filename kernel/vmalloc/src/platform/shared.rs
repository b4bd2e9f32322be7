//! A machine that several instances share, each by a reference to it.

use super::Platform;
use crate::{CpuSet, Event, Flusher, Frame, Overrun, Returned, Scope, Shootdown};
use core::ptr::NonNull;

/// Defines methods of a reference that are those of what it refers to.
macro_rules! forward {
    ($to:ident { $($(#[$attribute:meta])* fn $name:ident(&self $(, $argument:ident: $type:ty)*) $(-> $result:ty)?;)* }) => {$(
        $(#[$attribute])*
        fn $name(&self $(, $argument: $type)*) $(-> $result)? {
            $to::$name(self $(, $argument)*)
        }
    )*};
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a default in the place of the machine's own breaks its promises"
)]
// SAFETY: the promises are those of the machine, which does all. 5. So there is one shootdown for all instances.
unsafe impl<P: Platform> Platform for &P {
    type Pin = P::Pin;

    forward! { P {
        #[inline]
        #[track_caller]
        fn pin(&self) -> P::Pin;
        #[inline]
        #[track_caller]
        fn pin_outside_interrupts(&self) -> Option<P::Pin>;
        fn root(&self) -> Frame;
        fn total_frames(&self) -> usize;
        fn free_frames(&self) -> usize;
        fn take_frames(&self, count: usize, sink: impl FnMut(Frame)) -> usize;
        fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>);
        fn take_huge_frame(&self) -> Option<Frame>;
        fn give_huge_frame(&self, first: Returned<Frame>);
        fn take_table(&self) -> Option<Frame>;
        fn give_table(&self, frame: Returned<Frame>);
        #[inline]
        fn direct_map(&self, frame: Frame) -> NonNull<u8>;
        fn is_ram(&self, frame: Frame) -> bool;
        fn physical_bits(&self) -> u32;
        fn page_attribute_table(&self) -> u64;
        #[inline]
        fn frame_of(&self, direct: NonNull<u8>) -> Frame;
        #[inline]
        fn shootdown(&self) -> &Shootdown;
        fn wake_purger(&self) -> bool;
        fn pause(&self) -> bool;
        fn synchronize(&self) -> bool;
        #[inline]
        fn in_interrupt(&self) -> bool;
        fn trace(&self, event: Event);
        fn now(&self) -> u64;
        fn thread_tag(&self) -> [u8; 16];
        fn report_overrun(&self, overrun: &Overrun);
    } }
}

#[deny(clippy::missing_trait_methods, reason = "as above")]
// SAFETY: as above.
unsafe impl<F: Flusher> Flusher for &F {
    forward! { F {
        #[inline]
        fn here(&self) -> usize;
        #[inline]
        fn flush_page(&self, address: usize);
        fn flush_all(&self);
        fn interrupt(&self, cpus: CpuSet);
        fn wait(&self, cpu: usize, done: impl Fn() -> bool);
        fn uninterrupted(&self, serve: impl FnOnce());
        fn broadcasts(&self) -> bool;
        fn broadcast(&self, scope: Scope<'_>);
    } }
}
