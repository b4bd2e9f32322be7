//! Purge notifiers: who is asked before an allocation fails, and who is not.

use super::World;
use std::{cell::Cell, thread::LocalKey};
use vmalloc::{AllocError, MAX_NOTIFIERS, PurgeNotifier};

/// Notifiers that there are: one more than an instance can have.
const COUNT: usize = MAX_NOTIFIERS + 1;

std::thread_local! {
    /// How often each was asked since the step began. A history runs on one thread.
    static ASKED: [Cell<u32>; COUNT] = const { [const { Cell::new(0) }; COUNT] };
}

/// A notifier by its number. It has nothing to give back; those of odd numbers say that they gave something.
struct Notifier(usize);

static NOTIFIERS: [Notifier; COUNT] = {
    let mut notifiers = [const { Notifier(0) }; COUNT];
    let mut number = 0;
    while number < COUNT {
        notifiers[number].0 = number;
        number += 1;
    }
    notifiers
};

impl PurgeNotifier for Notifier {
    fn purge(&self, error: AllocError) -> bool {
        assert!(
            matches!(error, AllocError::OutOfFrames { .. } | AllocError::OutOfAddressSpace { .. }),
            "a notifier is asked for {error}"
        );
        asked(self.0, |asked| asked.set(asked.get() + 1));
        self.0 % 2 == 1
    }
}

fn asked<T>(number: usize, look: impl FnOnce(&Cell<u32>) -> T) -> T {
    LocalKey::with(&ASKED, |asked| look(&asked[number]))
}

impl World<'_> {
    /// Registers a notifier, or removes one; but not in the middle of another such call, whose answer depends on which of them
    /// is the first.
    pub(super) fn notifier(&self, instance: usize, which: u32, how: u32) {
        if !self.notifies.replace(true) {
            self.do_notifier(instance, which, how);
            self.notifies.set(false);
        }
    }

    fn do_notifier(&self, instance: usize, which: u32, how: u32) {
        let number = which as usize % COUNT;
        let registers = how.is_multiple_of(2);
        let (done, word) = if registers {
            (self.call(instance, |vmalloc| vmalloc.register_notifier(&NOTIFIERS[number])), "registered")
        } else {
            (self.call(instance, |vmalloc| vmalloc.unregister_notifier(&NOTIFIERS[number])), "removed")
        };
        self.note(|| format!("notifier {number} is {word}: {done}"));
        let known = &mut self.models[instance].borrow_mut().notifiers;
        let place = known.iter().position(|&known| known == number);
        let is_right = if registers { known.len() < MAX_NOTIFIERS } else { place.is_some() };
        assert_eq!(done, is_right, "notifier {number} is {word}, of {known:?}");
        match place {
            _ if !done => {}
            _ if registers => known.push(number),
            place => drop(place.map(|place| known.swap_remove(place))),
        }
    }

    /// A step begins: nobody was asked yet.
    pub(super) fn forget_notifiers(&self) {
        (0..COUNT).for_each(|number| asked(number, |asked| asked.set(0)));
    }

    /// Looks whether all were asked that an instance has, before it refused what nothing else explains.
    pub(super) fn judge_notifiers(&self, instance: usize) {
        for &number in &self.models[instance].borrow().notifiers {
            assert_ne!(asked(number, Cell::get), 0, "notifier {number} was not asked before a refusal");
        }
    }

    /// Looks whether nobody was asked whom no instance has.
    pub(super) fn judge_strangers(&self) {
        let is_known = |number| self.models.iter().any(|model| model.borrow().notifiers.contains(&number));
        for number in (0..COUNT).filter(|&number| !is_known(number)) {
            assert_eq!(
                asked(number, Cell::get),
                0,
                "notifier {number} was asked, which is registered nowhere"
            );
        }
    }
}
