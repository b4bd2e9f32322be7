//! Hooks: the one way in which a lower room calls a higher one.
//!
//! A room that needs something from above declares a [`Hook`] and says what is done until it is installed.
//! `bringup` installs all hooks, each once, before the second CPU starts. Hooks lie on cold paths and on the paths of
//! interrupts only: a call through one costs a load, a branch and an indirect call. No lock is taken.

use spin::Once;

/// A place for one function of type `F`, to be filled by a higher room.
#[derive(Debug)]
pub struct Hook<F> {
    name: &'static str,
    /// What is called until the hook is installed.
    default: F,
    installed: Once<F>,
}

impl<F: Copy> Hook<F> {
    /// Makes a hook in which `default` stands until another function is installed. `name` is for the report of a
    /// second installation.
    pub const fn new(name: &'static str, default: F) -> Self {
        Self { name, default, installed: Once::new() }
    }

    /// Has [`get`](Self::get) return `function` from now on.
    ///
    /// # Panics
    /// The hook was installed before: two rooms believe that it is theirs.
    pub fn install(&self, function: F) {
        let mut is_first = false;
        self.installed.call_once(|| {
            is_first = true;
            function
        });
        assert!(is_first, "the hook {} was installed twice", self.name);
    }

    /// Returns the function to call.
    #[inline]
    pub fn get(&self) -> F {
        self.installed.get().copied().unwrap_or(self.default)
    }
}
