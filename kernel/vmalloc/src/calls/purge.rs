//! Purging by hand, and who is asked to give back before an allocation fails.

use crate::{Platform, PurgeNotifier, Reach, Vmalloc};
use core::panic::Location;

impl<P: Platform> Vmalloc<P> {
    /// Flushes what was unmapped and makes it free. Returns how many pages of address space became free. It
    /// waits for a purge that is under way, unless the caller may not wait; isolated CPUs are not
    /// interrupted, and what they may still reach goes on waiting.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[track_caller]
    pub fn purge(&self) -> usize {
        self.base().assert_not_in_interrupt("purge");
        self.reclaim().purge(Reach::Considerate, Location::caller()).unwrap_or(0)
    }

    /// Makes every CPU, isolated ones too, forget what was unmapped before this call. Call it before giving away
    /// frames that [`vmap`](Self::vmap) or [`vm_map_ram`](Self::vm_map_ram) had mapped. An
    /// [idle](crate::Shootdown::enter_idle) CPU forgets before it uses anything, and until then may load what was
    /// there by speculation only: whoever changes how the frames are cached elsewhere has to flush such CPUs, too.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[track_caller]
    pub fn vm_unmap_aliases(&self) {
        self.base().assert_not_in_interrupt("vm_unmap_aliases");
        self.reclaim().unmap_aliases(Location::caller());
    }

    /// Registers a notifier. Returns `false` if there are [`MAX_NOTIFIERS`](crate::MAX_NOTIFIERS) already.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn register_notifier(&self, notifier: &'static dyn PurgeNotifier) -> bool {
        self.base().assert_not_in_interrupt("register_notifier");
        self.reclaim().notifiers.register(&self.platform().pin(), notifier)
    }

    /// Removes a notifier. Returns `false` if it is not registered. It may still be running on another CPU.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn unregister_notifier(&self, notifier: &'static dyn PurgeNotifier) -> bool {
        self.base().assert_not_in_interrupt("unregister_notifier");
        self.reclaim().notifiers.unregister(&self.platform().pin(), notifier)
    }
}
