//! Purging by hand, and who is asked to give back before an allocation fails.

use crate::{Platform, PurgeNotifier, Reach, Vmalloc};
use core::panic::Location;

impl<P: Platform> Vmalloc<P> {
    /// Flushes what was unmapped and makes it free. Returns the pages of address space that became
    /// free. Waits for a purge that is under way, but for callers that may not; isolated CPUs are not
    /// interrupted, and what they may still reach goes on waiting.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[track_caller]
    pub fn purge(&self) -> usize {
        self.base().assert_not_in_interrupt("purge");
        self.reclaim().purge(Reach::Considerate, Location::caller()).unwrap_or(0)
    }

    /// Makes every CPU forget what was unmapped before this call, isolated ones too. For who is about to
    /// give frames away that [`vmap`](Self::vmap) or [`vm_map_ram`](Self::vm_map_ram) had mapped. An
    /// [idle](crate::Shootdown::enter_idle) CPU forgets before it uses anything, and until then may load what was there by
    /// speculation alone: whoever changes how the frames are cached elsewhere has such CPUs flush, too.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[track_caller]
    pub fn vm_unmap_aliases(&self) {
        self.base().assert_not_in_interrupt("vm_unmap_aliases");
        self.reclaim().unmap_aliases(Location::caller());
    }

    /// Registers a notifier; `false` if there are [`MAX_NOTIFIERS`](crate::MAX_NOTIFIERS) already.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn register_notifier(&self, notifier: &'static dyn PurgeNotifier) -> bool {
        self.base().assert_not_in_interrupt("register_notifier");
        self.reclaim().notifiers.register(&self.platform().pin(), notifier)
    }

    /// Removes a notifier; `false` if it is not registered. It may still be running on another CPU.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn unregister_notifier(&self, notifier: &'static dyn PurgeNotifier) -> bool {
        self.base().assert_not_in_interrupt("unregister_notifier");
        self.reclaim().notifiers.unregister(&self.platform().pin(), notifier)
    }
}
