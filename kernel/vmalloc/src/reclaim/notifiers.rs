//! Purge notifiers: users of the instance that can give memory or address space back are asked to,
//! before an allocation fails for want of it.

use crate::{
    AllocError, CpuPin, LockClass,
    lock::{Lock, Locked},
};
use core::ptr;

/// The most notifiers an instance can have.
pub const MAX_NOTIFIERS: usize = 8;

/// Somebody who holds areas that can be done without.
pub trait PurgeNotifier: Sync {
    /// An allocation found neither frames nor address space, as `error` says. Gives back what can be
    /// given back; returns whether that was anything. No lock of the instance is held.
    fn purge(&self, error: AllocError) -> bool;
}

/// The registered notifiers, in no order.
pub(crate) struct Notifiers(Lock<List>);

type Notifier = &'static dyn PurgeNotifier;
type List = [Option<Notifier>; MAX_NOTIFIERS];

impl Locked for List {
    const CLASS: LockClass = LockClass::Notifiers;
}

impl Notifiers {
    pub fn new() -> Self {
        Self(Lock::new([None; MAX_NOTIFIERS]))
    }

    /// Registers a notifier; `false` if there are [`MAX_NOTIFIERS`] already.
    pub fn register(&self, pin: &impl CpuPin, notifier: Notifier) -> bool {
        let mut list = self.0.lock(pin);
        list.iter_mut().find(|slot| slot.is_none()).map(|slot| *slot = Some(notifier)).is_some()
    }

    /// Removes a notifier; `false` if it is not registered. It may still be running on another CPU.
    pub fn unregister(&self, pin: &impl CpuPin, notifier: Notifier) -> bool {
        let is_it = |slot: &&mut Option<Notifier>| slot.is_some_and(|known| ptr::addr_eq(known, notifier));
        self.0.lock(pin).iter_mut().find(is_it).map(|slot| *slot = None).is_some()
    }

    /// Asks all notifiers; whether any gave something back.
    #[cold]
    pub fn notify(&self, pin: impl CpuPin, error: AllocError) -> bool {
        // Copied out: a notifier may free, register and unregister.
        let list = *self.0.lock(&pin);
        drop(pin);
        // All of them, not only up to the first that helps.
        list.into_iter().flatten().filter(|notifier| notifier.purge(error)).count() > 0
    }
}
